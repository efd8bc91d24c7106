"""From a blueprint to the pair: the listed classes are called, and nothing else."""

import inspect
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrovae.blueprint.blueprint import SCALARS, Blueprint
from pyrovae.blueprint.extent import check_extent
from pyrovae.blueprint.names import Names, known_layers
from pyrovae.errors import FolderError

__all__ = ["build"]


def build(blueprint: Blueprint, names: Names) -> dict[str, Any]:
    """Build what a blueprint describes.

    Args:
        blueprint: the blueprint, perhaps from a file that anyone wrote.
        names: the classes that it may name.

    Raises:
        FolderError: it is broken, names a class that is not listed, or a constructor refuses its arguments.
    """
    builder = _Builder(blueprint.tensors, names)
    for call in blueprint.objects:
        builder.add(call)
    for entry in blueprint.replaced:
        builder.replace(entry)
    roots = {name: builder.value(value) for name, value in blueprint.roots.items()}
    if unused := blueprint.tensors.keys() - builder.used:
        raise FolderError(f"The weights hold {ascii(min(unused))[:80]}, which no constructor is given.")
    return roots


class _Builder:
    """Builds one blueprint."""

    def __init__(self, tensors: Mapping[str, Tensor], names: Names) -> None:
        self._tensors, self._names = tensors, names
        self._objects: list[Any] = []
        self.used: set[str] = set()
        self._extents: dict[int, tuple[int, int]] = {}  # of the objects, which live as long as this
        self._readers: dict[str, Callable[[Any], Any]] = {
            "tuple": lambda entries: tuple(self._entries(entries)),
            "dict": self._dict,
            "float": _float,
            "class": names.find,
            "dtype": _dtype,
            "object": self._object,
            "partial": self._partial,
            "tensor": lambda name: self._tensor(name).to(torch.get_default_device()),  # without values in shapes_only
            "texts": lambda entries: np.array(self._entries(entries), dtype=object),
            "array": lambda name: self._tensor(name).numpy(),
        }

    def value(self, value: Any) -> Any:
        """The value that JSON stands for."""
        if isinstance(value, list):
            return self._entries(value)
        if not isinstance(value, dict):
            return value
        if value.keys() == {"method", "object"}:
            return self._method(value["method"], self._object(value["object"]))
        if value.keys() == {"scalar", "value"}:
            return _scalar(value["scalar"], self.value(value["value"]))
        tag = next(iter(value)) if len(value) == 1 else None
        if tag not in self._readers:
            raise FolderError(f"The folder holds a value of an unknown kind, {ascii(list(value))[:100]}.")
        return self._readers[tag](value[tag])

    def _entries(self, entries: Any) -> list[Any]:
        if not isinstance(entries, list):
            raise _broken("a list", entries)
        return [self.value(entry) for entry in entries]

    def _dict(self, pairs: Any) -> dict[Any, Any]:
        if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise _broken("pairs of keys and values", pairs)
        read = [(self.value(key), self.value(entry)) for key, entry in pairs]
        try:
            found = dict(read)
        except TypeError as error:
            raise _broken("keys that have a hash", pairs) from error
        if len(found) != len(read):
            raise _broken("different keys", pairs)
        return found

    def _object(self, number: Any) -> Any:
        if type(number) is not int or not 0 <= number < len(self._objects):
            raise _broken("the number of an object before", number)
        return self._objects[number]

    def _method(self, name: Any, owner: Any) -> Any:
        """A public method that a listed class defines; none of torch's, which could do anything."""
        public = isinstance(name, str) and name.isidentifier() and not name.startswith("_")
        homes = [vars(kind) for kind in type(owner).__mro__ if self._names.listed(kind) and not _is_torch(kind)]
        if not public or not any(inspect.isfunction(home.get(name)) for home in homes):
            raise _broken("a method of the suite's classes, or of yours", name)
        return getattr(owner, name)

    def _partial(self, entry: Any) -> Any:
        if not isinstance(entry, dict) or entry.keys() != {"class", "args", "kwargs"}:
            raise _broken("class, args and kwargs", entry)
        named = self.value(entry["kwargs"])
        if not isinstance(named, dict) or not all(isinstance(name, str) for name in named):
            raise _broken("named arguments", entry)
        return partial(self._names.find(entry["class"]), *self._entries(entry["args"]), **named)

    def _tensor(self, name: Any) -> Tensor:
        if not isinstance(name, str) or name not in self._tensors:
            raise _broken("the name of a tensor in its weights", name)
        self.used.add(name)
        return self._tensors[name]

    def add(self, call: Any) -> None:
        """Build one object."""
        if not isinstance(call, dict) or call.keys() != {"class", "arguments"} or type(call["arguments"]) is not dict:
            raise _broken("a class and its arguments", call)
        kind = self._names.find(call["class"])
        arguments = {name: self.value(value) for name, value in call["arguments"].items()}
        try:
            made = _called(kind, arguments)
            if isinstance(made, nn.Module):
                check_extent(made, self._extents)
            self._objects.append(made)
        except FolderError:
            raise
        except Exception as error:  # arguments that anyone wrote may make a constructor raise anything
            why = f"{type(error).__name__}: {error}"[:300]
            raise FolderError(f"The folder has a {kind.__name__} that cannot be built: {why}") from error

    def replace(self, entry: Any) -> None:
        """Put one module in the place of another."""
        if not isinstance(entry, dict) or entry.keys() != {"object", "name", "by"}:
            raise _broken("an object, a name, and what is put there", entry)
        owner, by = self._object(entry["object"]), self._object(entry["by"])
        own = isinstance(owner, nn.Module) and isinstance(by, nn.Module) and isinstance(entry["name"], str)
        circle = own and any(part is owner for part in by.modules())
        if not own or circle or entry["name"] not in owner._modules:
            raise _broken("the name of a submodule", entry)
        check_extent(by, {})
        setattr(owner, entry["name"], by)


def _called(kind: type, arguments: dict[str, Any]) -> Any:
    if kind in (nn.Sequential, nn.ModuleList):
        return _container(kind, arguments)
    if kind in known_layers():
        return kind(**arguments)  # torch's own check of the names: an RNN takes any number of arguments
    build: Any = kind.__init__  # type: ignore[misc]
    signature = inspect.signature(build)
    unknown = arguments.keys() - signature.parameters.keys()
    if unknown or next(iter(signature.parameters)) in arguments:
        raise FolderError(f"The folder has a {kind.__name__} with the arguments {ascii(sorted(arguments))[:200]}.")
    ordered = OrderedDict((name, arguments.get(name)) for name in signature.parameters if name in arguments)
    bound = inspect.BoundArguments(signature, OrderedDict({next(iter(signature.parameters)): None}) | ordered)
    return kind(*bound.args[1:], **bound.kwargs)


def _is_torch(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "torch"


def _container(kind: type, arguments: dict[str, Any]) -> nn.Module:
    children = arguments.get("children")
    if arguments.keys() != {"children"} or not isinstance(children, dict):
        raise _broken("the children of a container", list(arguments))
    made = kind()
    for name, child in children.items():
        made.add_module(name, child)
    return made


def _float(text: Any) -> float:
    if text not in ("inf", "-inf", "nan"):
        raise _broken("inf, -inf or nan", text)
    return math.nan if text == "nan" else float(text)


def _dtype(name: Any) -> torch.dtype:
    found = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(found, torch.dtype):
        raise _broken("the name of a type of numbers", name)
    return found


def _scalar(name: Any, value: Any) -> Any:
    if name not in SCALARS or not isinstance(value, bool | int | float):
        raise _broken("a number of NumPy", name)
    try:
        return np.dtype(name).type(value)
    except (OverflowError, ValueError) as error:
        raise _broken(f"a number of type {name}", value) from error


def _broken(expected: str, got: Any) -> FolderError:
    return FolderError(f"The folder's config.json is broken: it requires {expected}, got {ascii(got)[:100]}.")
