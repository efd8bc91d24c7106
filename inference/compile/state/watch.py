"""What a captured graph holds fixed about the objects that it reads, and whether that has changed."""

import weakref
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

from torch import Tensor, nn

from pyrovae.inference.compile.state.hooks import hooks_of_module, hooks_of_tensor

__all__ = ["Hashed", "Slot", "Watch", "put_back"]

Slot = tuple[dict[str, Any], str]
"""An attribute: the `__dict__` that holds it, and its name."""


class Hashed:
    """A tuple that is hashed once; Python hashes a tuple anew at each lookup in a dict.

    Args:
        value: the tuple.
    """

    __slots__ = ("_hash", "value")

    def __init__(self, value: tuple) -> None:
        self.value, self._hash = value, hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Hashed) and self.value == other.value)


class Watch:
    """What a graph holds fixed about some objects: their structure, modes and plain attributes.

    Calling it gives a key that stays equal as long as nothing changed: which tensors, submodules and other objects
    each attribute holds (by identity), their dtype, device, shape and `requires_grad`, and the values of numbers,
    strings and flags, among them `training`. The contents of tensors are not part of the key.

    Args:
        objects: modules, watched with all their submodules, and any other objects.
    """

    _IGNORED = (frozenset(nn.Module().__dict__) | {"_recorded"}) - {"training"}

    def __init__(self, objects: Sequence[object]) -> None:
        self._objects = objects
        self._ignored: set[tuple[int, str]] = set()
        self._slots: list[Slot] = []
        self._holders: list[dict[str, Any]] = []
        self._names: list[str] = []
        self._groups: list[dict[str, Any]] = []
        self._hooks: list[dict[int, Any]] = []
        self._seen: list[Any] = []
        self._tensors: list[Tensor] = []
        self._state: Any = None
        self._key = Hashed(())
        self.refresh()

    def include(self, modules: Sequence[nn.Module]) -> None:
        """Watch further modules, unless they are parts of those that are watched.

        Args:
            modules: modules that were found while a program ran.
        """
        owned = {id(part) for item in self._objects if isinstance(item, nn.Module) for part in item.modules()}
        new = [module for module in modules if id(module) not in owned]
        if new:
            self._objects = [*self._objects, *new]
            self.refresh()

    def labels(self, before: "Hashed", after: "Hashed") -> list[str]:
        """The names of the attributes that differ between two keys.

        Args:
            before, after: keys.
        """
        pairs = zip(self._slots, before.value, after.value, strict=False)
        return [f"the attribute {name!r}" for (_, name), a, b in pairs if a != b]

    def refresh(self) -> None:
        """List the attributes anew; some may have been added or removed."""
        self._slots, self._groups, self._hooks = [], [], []
        for item in self._objects:
            parts = item.modules() if isinstance(item, nn.Module) else [item]
            for part in parts:
                self._add(part)
        self._slots = [slot for slot in self._slots if (id(slot[0]), slot[1]) not in self._ignored]
        self._holders, self._names = [holder for holder, _ in self._slots], [name for _, name in self._slots]
        self._seen, self._tensors, self._state, self._key = [], [], None, Hashed(())

    def _add(self, part: object) -> None:
        attributes = getattr(part, "__dict__", {})
        self._slots += [(attributes, name) for name in attributes if name not in self._IGNORED]
        if isinstance(part, nn.Module):
            for group in (part._parameters, part._buffers, part._modules):
                self._slots += [(group, name) for name in group]
                self._groups.append(group)
            self._hooks += hooks_of_module(part)

    def __call__(self) -> "Hashed":
        values: list[Any] = [*map(dict.get, self._holders, self._names)]
        same = len(values) == len(self._seen) and all(map(is_, values, self._seen))
        tensors = self._tensors if same else [v for v in values if type(v) in _PLAIN_TENSORS]
        state: list[Any] = [(v.data_ptr(), v.requires_grad) for v in tensors]
        attached: list[Any] = [*map(len, self._groups)]
        attached += [hook for hooks in self._hooks if hooks for hook in hooks.values()]
        hooked = [v for v in tensors if v._backward_hooks or v._post_accumulate_grad_hooks]
        attached += [hook for v in hooked for hook in hooks_of_tensor(v)]
        if not same or (state, attached) != self._state:
            self._seen, self._tensors, self._state = values, tensors, (state, attached)
            self._key = Hashed((*map(_identity, values), tuple(attached)))
        return self._key

    def ignore(self, slots: Sequence[Slot]) -> None:
        """Stop watching some attributes.

        Args:
            slots: attributes that every replay writes.
        """
        self._ignored |= {(id(group), name) for group, name in slots}
        self.refresh()

    def changes(self) -> Callable[[], list[tuple[Slot, Any]]]:
        """Remember all attributes as they are now.

        Returns:
            A function that lists the attributes that have changed since, each with the value that it had.
        """
        self.refresh()
        before = {(id(group), name): group[name] for group, name in self._slots}

        def changed() -> list[tuple[Slot, Any]]:
            self.refresh()
            old = [(slot, before.get((id(slot[0]), slot[1]), _ABSENT)) for slot in self._slots]
            return [(slot, value) for slot, value in old if _identity(slot[0][slot[1]]) != _identity(value)]

        return changed


_ABSENT = object()


def put_back(changes: list[tuple[Slot, Any]]) -> None:
    """Give attributes the values that they had, and delete those that did not exist.

    Args:
        changes: what a function of `Watch.changes` listed.
    """
    for (group, name), value in changes:
        if value is _ABSENT:
            del group[name]
        else:
            group[name] = value


_PLAIN_TENSORS = (Tensor, nn.Parameter)

_VALUES = (bool, int, float, str, type(None))


def _identity(value: Any) -> Any:
    if isinstance(value, Tensor):
        return id(value), value.dtype, value.device, value.shape, value.requires_grad
    if isinstance(value, weakref.ref):  # a cache by its nature: its object may vanish at any time
        return weakref.ref
    return (type(value), value) if type(value) in _VALUES else id(value)
