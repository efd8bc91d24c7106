"""From a pair to its blueprint: which classes were called with which arguments."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrovae.blueprint.names import Names, attributes_of, is_layer
from pyrovae.errors import FolderError
from pyrovae.recorded import Lost, record_of

__all__ = ["SCALARS", "Blueprint", "blueprint_of"]

LARGEST = 2**24
"""The most numbers of an argument that is a tensor or an array."""

SCALARS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
"""The types of NumPy's numbers and arrays that a blueprint holds."""


@dataclass
class Blueprint:
    """A blueprint.

    Attributes:
        objects: the calls in their order, `{"class": name, "arguments": {...}}`; an argument may refer to an object
            before.
        replaced: submodules that were replaced after the call, `{"object": number, "name": name, "by": number}`.
        roots: what is described, by name.
        tensors: the arguments that are tensors or arrays, by the name that stands for them.
        own: the classes among them that are neither the suite's nor torch's.
        modules: every module among the objects that is still in use.
    """

    objects: list[dict[str, Any]] = field(default_factory=list)
    replaced: list[dict[str, Any]] = field(default_factory=list)
    roots: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    own: tuple[type, ...] = ()
    modules: tuple[nn.Module, ...] = ()


def blueprint_of(roots: Mapping[str, Any]) -> Blueprint:
    """The blueprint of some objects, which may share parts.

    Args:
        roots: what to describe, such as `{"model": model, "guide": guide}`: modules, methods of modules, dataclasses,
            and plain values.

    Raises:
        FolderError: an argument, or a class, that a blueprint cannot hold; the message names it and the line to write.
    """
    writer = _Writer()
    writer.blueprint.roots = {name: writer.value(root, name) for name, root in roots.items()}
    writer.write_replaced()
    writer.blueprint.own, writer.blueprint.modules = tuple(writer.own.values()), writer.in_use()
    return writer.blueprint


class _Writer:
    """Writes one blueprint; `where` says in an error what is described."""

    def __init__(self) -> None:
        self.blueprint, self.names = Blueprint(), Names()
        self._numbers: dict[int, int] = {}
        self._under_way: set[int] = set()
        self._kept: list[Any] = []  # an object must live as long as its id stands for it
        self.own: dict[str, type] = {}
        self._pending: list[tuple[int, str, nn.Module]] = []
        self._replaced: set[int] = set()

    def value(self, value: Any, where: str) -> Any:
        """A value as JSON."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return [self.value(entry, where) for entry in value]
        if kind in (tuple, torch.Size):
            return {"tuple": [self.value(entry, where) for entry in value]}
        if kind is dict:
            return {"dict": [[self.value(key, where), self.value(entry, where)] for key, entry in value.items()]}
        return self._other(value, where)

    def _other(self, value: Any, where: str) -> Any:
        if isinstance(value, type):
            return {"class": self._class(value, where)}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, np.generic):
            return self._scalar(value, where)
        if isinstance(value, Tensor | np.ndarray):
            return self._tensor(value, where)
        if isinstance(value, partial):
            named = {"args": list(value.args), "kwargs": value.keywords}
            described = {name: self.value(part, where) for name, part in named.items()}
            kind: Any = value.func
            return {"partial": {"class": self._class(kind, where), **described}}
        if isinstance(value, MethodType):
            return {"method": value.__name__, "object": self._object(value.__self__, where)}
        return {"object": self._object(value, where)}

    def _scalar(self, value: np.generic, where: str) -> Any:
        if isinstance(value, np.str_):
            return str(value)
        if value.dtype.name not in SCALARS:
            raise FolderError(f"{where} is a {value.dtype} of NumPy, which a folder cannot hold. Write value.item().")
        return {"scalar": value.dtype.name, "value": self.value(value.item(), where)}

    def _tensor(self, value: Tensor | np.ndarray, where: str) -> Any:
        size = value.numel() if isinstance(value, Tensor) else value.size
        if size > LARGEST:
            raise FolderError(
                f"{where} is a tensor of {size:,} numbers, and a folder holds at most {LARGEST:,} as an argument. "
                "Register it as a buffer after the constructor, and pass its shape alone."
            )
        if isinstance(value, np.ndarray) and value.dtype == object and all(type(entry) is str for entry in value.flat):
            return {"texts": list(value.flat)}
        if isinstance(value, np.ndarray) and value.dtype.name not in SCALARS:
            raise FolderError(f"{where} is an array of {value.dtype}, which a folder cannot hold. Pass a list.")
        name = f"argument.{len(self.blueprint.tensors)}"
        whole = value.detach() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
        self.blueprint.tensors[name] = whole.cpu().contiguous().clone()
        return {"tensor" if isinstance(value, Tensor) else "array": name}

    def _class(self, kind: type, where: str) -> str:
        name = self.names.of(kind)
        if not self.names.listed(kind):
            if "<locals>" in name:
                raise FolderError(
                    f"{where} is the class {kind.__qualname__!r}, which is defined inside a function, where no reader "
                    "finds it. Define it at the top of its file."
                )
            if self.own.setdefault(kind.__qualname__, kind) is not kind:
                raise FolderError(f"A pair requires classes of different names, got two {kind.__qualname__!r}.")
        return name

    def _object(self, value: Any, where: str) -> int:
        """The number of an object, which is described where it was not yet."""
        if id(value) in self._under_way:
            raise FolderError(f"{where} refers to an object that is built of it. Build one of the two first.")
        if id(value) not in self._numbers:
            self._under_way.add(id(value))
            call = {"class": self._class(type(value), where), "arguments": self._arguments(value, where)}
            self._under_way.remove(id(value))
            self._numbers[id(value)] = len(self.blueprint.objects)
            self._kept.append(value)
            self.blueprint.objects.append(call)
            self._note_replaced(value)
        return self._numbers[id(value)]

    def _arguments(self, value: Any, where: str) -> dict[str, Any]:
        name = type(value).__name__
        if isinstance(value, nn.Sequential | nn.ModuleList) and is_layer(value):
            children = [[key, self.value(child, f"{where}[{key!r}]")] for key, child in value._modules.items()]
            return {"children": {"dict": children}}
        given = _given(value, where)
        return {key: self.value(entry, f"The argument {key!r} of {name}") for key, entry in given.items()}

    def _note_replaced(self, value: Any) -> None:
        """Remember the submodules that took the place of those that the constructor was given."""
        record = record_of(value)
        if record is None or not isinstance(value, nn.Module):
            return
        present = set(map(id, value.modules()))
        for name, given in _bound(value).items():
            now = value._modules.get(name)
            if isinstance(given, nn.Module) and now is not None and id(given) not in present:
                self._pending.append((self._numbers[id(value)], name, now))
                self._replaced |= set(map(id, given.modules()))

    def in_use(self) -> tuple[nn.Module, ...]:
        """The modules that were described, without those that others replaced."""
        return tuple(m for m in self._kept if isinstance(m, nn.Module) and id(m) not in self._replaced)

    def write_replaced(self) -> None:
        """Draw the submodules that replaced others; they may be built of the objects that they are in."""
        while self._pending:
            number, name, module = self._pending.pop(0)
            by = self._object(module, f"The module {name!r}")
            self.blueprint.replaced.append({"object": number, "name": name, "by": by})


def _given(value: Any, where: str) -> dict[str, Any]:
    """The arguments that an object was built with, by name."""
    if isinstance(value, Lost):
        raise FolderError(f"{where} is {value.what}, which a folder cannot hold. {_instead(value)}")
    if record_of(value) is not None:
        return _bound(value)
    if isinstance(value, nn.Module):
        if is_layer(value):
            return attributes_of(value)
        name = type(value).__name__
        raise FolderError(
            f"{where} is a {name}, which does not record the arguments of its constructor. Write class "
            f"{name}(pyrovae.Recorded, nn.Module)."
        )
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: getattr(value, entry.name) for entry in fields(value) if entry.init}
    raise FolderError(f"{where} is {_shown(value)}, which a folder cannot hold. {_instead(value)}")


def _bound(value: Any) -> dict[str, Any]:
    record: Any = record_of(value)
    bound = inspect.signature(type(value).__init__).bind(None, *record.args, **record.kwargs)
    _, *given = bound.arguments.items()
    return dict(given)


def _shown(value: Any) -> str:
    return f"the function {value.__name__!r}" if inspect.isroutine(value) else f"a {type(value).__name__}"


def _instead(value: Any) -> str:
    words = value.what if isinstance(value, Lost) else _shown(value)
    if "function" in words:
        return (
            "Write a class: functools.partial(nn.LeakyReLU, 0.1) for an activation, pyrovae.models.Program for a "
            "model or a guide, a frozen dataclass for a transform."
        )
    if "generator" in words or "iterator" in words or "dict_" in words:
        return "Write list(...)."
    return "Pass numbers, strings, tuples, lists, dicts, tensors, classes or modules."
