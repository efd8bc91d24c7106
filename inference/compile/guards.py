"""Guards: the Python state that a captured function read, besides its arguments and the attributes of its modules.

A graph holds everything that Python computed while it was captured. So a captured function may be replayed only while
the globals, closure variables, containers and attributes that its code names are what they were. `Recorder` finds out,
in one run, which of the user's functions run and what they name; `Guards` holds the values and tells when they change.
"""

import gc
import inspect
import io
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FrameType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.distributions import Distribution

from pyrovae.inference.compile.reasons import is_library
from pyrovae.inference.compile.watch import Hashed

__all__ = ["Guards", "Recorder", "Same"]

DEPTH = 5  # of containers and objects inside each other
LARGEST = 1000  # entries of a container
BYTES = 2**16  # of an array

PLAIN: tuple[type, ...] = (bool, int, float, complex, str, bytes, type(None), type(...), np.generic)
PLAIN += (torch.dtype, torch.device, torch.Size)
LEAVES = (ModuleType, BuiltinFunctionType, Tensor)
OPEN = (SimpleNamespace, Messenger, Distribution)  # objects of libraries whose attributes count
_ABSENT = object()
_CONTENT = object()


class Same:
    """A value in a key, equal to itself alone; it is kept alive, so that its identity stays its own."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


class Read(NamedTuple):
    """One place that a function reads: an entry of a namespace, a cell, or the content of a container."""

    holder: Any
    key: Any
    label: str

    def value(self) -> Any:
        """What is there now."""
        holder = self.holder
        if self.key is _CONTENT:
            return _content(holder)
        if isinstance(holder, CellType):
            try:
                return holder.cell_contents
            except ValueError:  # not bound yet
                return _ABSENT
        return holder.get(self.key, _ABSENT)

    def put(self, value: Any) -> None:
        """Put a value back that was there before."""
        holder = self.holder
        if self.key is _CONTENT:
            _refill(holder, value)
        elif isinstance(holder, CellType):
            holder.cell_contents = value
        elif value is _ABSENT:
            holder.pop(self.key, None)
        elif isinstance(holder, dict):
            holder[self.key] = value


def _content(holder: Any) -> Any:
    """The entries of a container, as a tuple; of an array, its bytes."""
    if isinstance(holder, np.ndarray):
        return holder.shape, holder.dtype.str, holder.tobytes()
    if isinstance(holder, dict):
        return (*holder, *holder.values())
    return tuple(holder)


def _refill(holder: Any, value: Any) -> None:
    if isinstance(holder, np.ndarray):
        holder[...] = np.frombuffer(value[2], dtype=value[1]).reshape(value[0])
        return
    entries = list(value)
    if isinstance(holder, dict):
        half = len(entries) // 2
        entries = list(zip(entries[:half], entries[half:], strict=True))
    holder.clear()
    (holder.extend if hasattr(holder, "extend") else holder.update)(entries)


def _key(value: Any) -> Any:
    """A value in a key: plain values by type and value, tensors with what a graph bakes in, all else by identity."""
    if isinstance(value, PLAIN):
        return type(value), value
    if isinstance(value, Tensor):
        return Same(value), value.dtype, value.device, value.shape, value.requires_grad
    if type(value) is tuple:
        return tuple(map(_key, value))
    return Same(value)


class Recorder:
    """Finds, while it is open, which of the user's functions run, and what their code names.

    Attributes:
        names: every name in the code that ran, attributes among them.
        namespaces: the globals that it named, as `(namespace, name)`.
        functions: the closures that ran, those made inside left out.
        forbidden: why what ran cannot be captured; None if it can.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.namespaces: dict[tuple[int, str], tuple[dict[str, Any], str]] = {}
        self.functions: list[FunctionType] = []
        self.forbidden: str | None = None
        self._known: set[CodeType] = set()

    def __enter__(self) -> "Recorder":
        self._before, self._collects = sys.getprofile(), gc.isenabled()
        gc.disable()  # its callbacks run anywhere, and are no part of the program
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)
        if self._collects:
            gc.enable()

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code not in self._known:
            self._known.add(frame.f_code)
            if frame.f_code in _FORBIDDEN:
                self.forbidden = f"the program calls {_FORBIDDEN[frame.f_code]}, which a graph cannot repeat"
            elif not is_library(frame.f_code.co_filename):
                self._enter(frame)
        elif event == "c_call" and not _is_installed(frame.f_code.co_filename):
            module = getattr(argument, "__module__", None)
            if module == "time" or argument in (open, input):
                self.forbidden = f"the program calls {argument.__name__}(), which a graph cannot repeat"

    def _enter(self, frame: FrameType) -> None:
        code, namespace = frame.f_code, frame.f_globals
        self.names.update(code.co_names)
        for name in code.co_names:
            if name in namespace:
                self.namespaces[id(namespace), name] = namespace, name
        if code.co_freevars and not _made_inside(frame):
            self.functions += [f for f in gc.get_referrers(code) if isinstance(f, FunctionType)]


def _is_installed(filename: str) -> bool:
    """Whether a file is a library's; an import in the middle of a program opens files too."""
    return is_library(filename) or "site-packages" in filename


def _made_inside(frame: FrameType) -> bool:
    """Whether the function that runs was made by one that runs too: its closure is new at each call."""
    outer = frame.f_back
    while outer is not None:
        if frame.f_code in outer.f_code.co_consts:
            return True
        outer = outer.f_back
    return False


# Unwrapped: torch.manual_seed's own code object is that of a wrapper which other functions of torch share.
_FORBIDDEN = {
    inspect.unwrap(cast(Any, function)).__code__: f"torch.{name}"
    for name, function in (
        ("manual_seed", torch.manual_seed),
        ("seed", torch.seed),
        ("set_rng_state", torch.set_rng_state),
        ("random.fork_rng", torch.random.fork_rng),
    )
}


class Guards:
    """The values that some functions read, and whether they are still the same.

    Calling it gives a key, equal as long as nothing changed.

    Attributes:
        modules: modules that were found on the way, whose own attributes are watched elsewhere.
        forbidden: why what was found cannot be guarded; None if it can.
    """

    def __init__(self) -> None:
        self.modules: list[nn.Module] = []
        self.forbidden: str | None = None
        self._reads: dict[tuple[int, Any], Read] = {}
        self._visited: dict[int, Any] = {}
        self._names: set[str] = set()
        self._seen: list[Any] = []
        self._last = Hashed(())

    def __call__(self) -> Hashed:
        values = [read.value() for read in self._reads.values()]
        if len(values) != len(self._seen) or any(a is not b for a, b in zip(values, self._seen, strict=True)):
            key = tuple(map(_key, values))
            self._seen = values
            self._last = self._last if key == self._last.value else Hashed(key)
        return self._last

    def labels(self, before: Hashed, after: Hashed) -> list[str]:
        """The words for what differs between two keys.

        Args:
            before, after: keys.
        """
        reads = self._reads.values()
        return [r.label for r, a, b in zip(reads, before.value, after.value, strict=False) if a != b]

    @contextmanager
    def unchanged(self) -> Iterator[list[str]]:
        """Put back what changes inside; the list that it gives names it afterwards."""
        changed: list[str] = []
        reads = list(self._reads.values())
        before = [read.value() for read in reads]
        try:
            yield changed
        finally:
            for read, old in zip(reads, before, strict=True):
                if _key(read.value()) != _key(old):
                    changed.append(read.label)
                    read.put(old)

    # What is guarded ----------------------------------------------------------------------------------------------

    def add(self, recorder: Recorder, roots: Sequence[tuple[str, Any]]) -> None:
        """Guard what a recorded run named, and what it reached from the roots.

        Args:
            recorder: the recorded run.
            roots: the objects from which it began, each with the words for it.
        """
        self.forbidden = self.forbidden or recorder.forbidden
        self._visited.clear()  # what was reached before may hold other things now
        self._names = recorder.names
        for label, value in roots:
            self._expand(value, label, 0)
        for namespace, name in recorder.namespaces.values():
            self._read(namespace, name, f"the global {name!r}", 0)
        for function in recorder.functions:
            self._expand(function, f"{function.__name__}()", 0)

    def _read(self, holder: Any, key: Any, label: str, depth: int) -> None:
        read = Read(holder, key, label)
        value = read.value()
        if isinstance(value, ModuleType):
            return
        self._reads.setdefault((id(holder), key), read)
        self._expand(value, label, depth)

    def _expand(self, value: Any, label: str, depth: int) -> None:
        """Guard what a value consists of."""
        if value is _ABSENT or isinstance(value, PLAIN + LEAVES) or id(value) in self._visited:
            return
        self._visited[id(value)] = value
        if reason := _unguardable(value, depth):
            self.forbidden = self.forbidden or f"{label} {reason}"
            return
        for kind, expand in self._expansions().items():
            if isinstance(value, kind):
                expand(value, label, depth + 1)
                return
        if hasattr(value, "__dict__") and (isinstance(value, OPEN) or _is_users(type(value))):
            self._object(value, label, depth + 1)

    def _expansions(self) -> dict[Any, Callable[[Any, str, int], None]]:
        return {
            nn.Module: self._module,
            partial: self._partial,
            MethodType: lambda value, label, depth: self._expand(value.__self__, label, depth),
            FunctionType: self._function,
            type: lambda value, label, depth: self._class(value, label, depth) if _is_users(value) else None,
            tuple: self._entries,
            (list, set, deque): self._container,
            dict: self._container,
            np.ndarray: lambda value, label, depth: self._content(value, label),
        }

    def _module(self, module: nn.Module, label: str, depth: int) -> None:
        self.modules.append(module)
        for path, part in module.named_modules():
            where = f"{label}.{path}" if path else label
            for name, value in list(part.__dict__.items()):
                if name not in _OF_MODULES:
                    self._expand(value, f"{where}.{name}", depth)
            self._class(type(part), where, depth, part.__dict__)

    def _partial(self, value: partial, label: str, depth: int) -> None:
        for part in (value.func, value.args, value.keywords):
            self._expand(part, label, depth)

    def _function(self, function: FunctionType, label: str, depth: int) -> None:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            words = f"the closure variable {name!r} of {function.__name__}()"
            self._read(cell, None, words, depth)
        for part in (function.__defaults__, function.__kwdefaults__):
            self._expand(part, f"a default argument of {function.__name__}()", depth)

    def _object(self, value: Any, label: str, depth: int) -> None:
        whole = isinstance(value, OPEN)
        for name in list(value.__dict__):
            if whole or name in self._names:
                self._read(value.__dict__, name, f"{label}.{name}", depth)
        self._class(type(value), label, depth, value.__dict__)

    def _class(self, kind: type, label: str, depth: int, instance: Any = MappingProxyType({})) -> None:
        """Attributes that are named and found on the class, and those that an instance would hide them by."""
        for base in kind.__mro__:
            if not _is_users(base):
                continue
            for name in self._names & base.__dict__.keys():
                self._read(base.__dict__, name, f"{label}.{name}", depth)
                if name not in instance and isinstance(instance, dict):
                    self._reads.setdefault((id(instance), name), Read(instance, name, f"{label}.{name}"))

    def _content(self, value: Any, label: str) -> None:
        self._reads.setdefault((id(value), _CONTENT), Read(value, _CONTENT, label))

    def _container(self, value: Any, label: str, depth: int) -> None:
        self._content(value, label)
        self._entries(value, label, depth)

    def _entries(self, value: Any, label: str, depth: int) -> None:
        pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        for key, entry in pairs:
            self._expand(entry, f"{label}[{key!r}]", depth)


_OF_MODULES = frozenset(nn.Module().__dict__)


def _is_users(kind: type) -> bool:
    """Whether a class is the user's own, not a library's."""
    module = sys.modules.get(kind.__module__)
    filename = getattr(module, "__file__", None)
    return kind.__module__ != "builtins" and (filename is None or not is_library(filename))


def _unguardable(value: Any, depth: int) -> str | None:
    """Why no key can stand for a value, or None."""
    if isinstance(value, torch.Generator | random.Random | np.random.Generator | np.random.RandomState):
        return "is a generator of random numbers with a state of its own; draw from torch's default generator"
    if isinstance(value, io.IOBase):
        return "is a file; read it before, and pass what it holds as an argument"
    if hasattr(type(value), "__next__"):
        return "is an iterator; take its next value before, and pass it as an argument"
    if isinstance(value, np.ndarray) and value.nbytes > BYTES:
        return f"is an array of {value.nbytes:,} bytes, too many to compare at each call; pass it as a tensor"
    if isinstance(value, list | dict | set | deque) and len(value) > LARGEST:
        return f"is a container of {len(value):,} entries, too many to compare at each call; pass what is needed of it"
    if depth > DEPTH and isinstance(value, list | dict | set | deque | np.ndarray):
        return f"is a container more than {DEPTH} levels deep; pass what is needed of it as an argument"
    return None
