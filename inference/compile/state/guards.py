"""Guards: the Python state that a captured function read, besides its arguments and the attributes of its modules.

A graph holds everything that Python computed while it was captured. So a captured function may be replayed only while
the globals, closure variables, containers and attributes that its code names are what they were. `Recorder` finds out,
in one run, which of the user's functions run and what they name; `Guards` holds the values and tells when they change.
"""

import io
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from operator import is_
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pyro
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.distributions import Distribution

from pyrovae.inference.compile.reasons import is_library
from pyrovae.inference.compile.state.hooks import hooks_of_tensor
from pyrovae.inference.compile.state.reads import ABSENT, CONSTRAINTS, CONTENT, PARAMS, PLAIN, Read, key_of
from pyrovae.inference.compile.state.recorder import Recorder
from pyrovae.inference.compile.state.watch import Hashed

__all__ = ["Guards"]

DEPTH = 10  # of containers and objects inside each other
LARGEST = 1000  # entries of a container
BYTES = 2**16  # of an array

TENSORS = (Tensor, nn.Parameter)
LEAVES = (ModuleType, BuiltinFunctionType, Tensor)
OPEN = (SimpleNamespace, Messenger, Distribution)  # objects of libraries whose attributes count


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
        self._getters: list[Callable[[], Any]] = []
        self._seen: list[Any] = []
        self._attached: list[Any] = []
        self._last = Hashed(())

    def __call__(self) -> Hashed:
        if len(self._getters) != len(self._reads):  # reads are only ever added
            self._getters = [read.getter() for read in self._reads.values()]
        values = [get() for get in self._getters]
        attached = [(t.requires_grad, *hooks_of_tensor(t)) for t in values if type(t) in TENSORS]
        seen = self._seen
        same = len(values) == len(seen) and (all(map(is_, values, seen)) or all(map(_is_same, values, seen)))
        if not same or attached != self._attached:
            key = (*map(key_of, values), tuple(attached))
            self._seen, self._attached = values, attached
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
                if key_of(read.value()) != key_of(old):
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

    def add_parameters(self, names: Iterable[str]) -> None:
        """Guard entries of Pyro's store: it may be set, loaded or cleared between two calls.

        Args:
            names: the names of parameters; those that are not in the store are skipped.
        """
        for name in names:
            if name in pyro.get_param_store():
                self._reads.setdefault((id(PARAMS), name), Read(PARAMS, name, f"the parameter {name!r}"))
                words = f"the constraint of the parameter {name!r}"
                self._reads.setdefault((id(CONSTRAINTS), name), Read(CONSTRAINTS, name, words))

    def _read(self, holder: Any, key: Any, label: str, depth: int) -> None:
        read = Read(holder, key, label)
        value = read.value()
        if isinstance(value, ModuleType):
            return
        self._reads.setdefault((id(holder), key), read)
        self._expand(value, label, depth)

    def _expand(self, value: Any, label: str, depth: int) -> None:
        """Guard what a value consists of."""
        if value is ABSENT or isinstance(value, PLAIN + LEAVES) or id(value) in self._visited:
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
        self._expand(value.func, label, depth)
        self._content(value.keywords, label)
        for part in (*value.args, *value.keywords.values()):
            self._expand(part, label, depth)

    def _function(self, function: FunctionType, label: str, depth: int) -> None:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            words = f"the closure variable {name!r} of {function.__name__}()"
            self._read(cell, None, words, depth)
        if not is_library(function.__code__.co_filename):
            for part in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
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
        self._reads.setdefault((id(value), CONTENT), Read(value, CONTENT, label))

    def _container(self, value: Any, label: str, depth: int) -> None:
        self._content(value, label)
        self._entries(value, label, depth)

    def _entries(self, value: Any, label: str, depth: int) -> None:
        pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        for key, entry in pairs:
            self._expand(entry, f"{label}[{key!r}]", depth)


def _is_same(value: Any, seen: Any) -> bool:
    """Whether two values are one object, or tuples of the same objects: the content of a container is a new tuple."""
    if value is seen:
        return True
    tuples = type(value) is type(seen) is tuple and len(value) == len(seen)
    return tuples and all(a is b for a, b in zip(value, seen, strict=True))


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
