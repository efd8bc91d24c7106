"""Watch."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

__all__ = ["Hashed", "Slot", "Watch", "put_back"]


Slot = tuple[dict[str, Any], str]  # an attribute: a `__dict__`, and a name in it


class Hashed:
    """A tuple that is hashed once: tuples are hashed anew at each look into a dict."""

    __slots__ = ("_hash", "_value")

    def __init__(self, value: tuple) -> None:
        self._value, self._hash = value, hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Hashed) and self._value == other._value)


class Watch:
    """What a graph holds fixed about some objects: their structure, modes and plain attributes.

    Calling it gives a key, equal as long as nothing changed: which tensors, submodules and other objects hang
    on each attribute (by identity), their dtype, device, shape and `requires_grad`, and the values of numbers,
    strings and flags, `training` among them. Tensors' contents are no part of it.
    """

    _IGNORED = frozenset(nn.Module().__dict__) - {"training"}

    def __init__(self, objects: Sequence[object]) -> None:
        self._objects = objects
        self._ignored: set[tuple[int, str]] = set()
        self._slots: list[Slot] = []
        self.refresh()

    def refresh(self) -> None:
        """Look again for what is there to be watched."""
        self._slots = []
        for item in self._objects:
            parts = item.modules() if isinstance(item, nn.Module) else [item]
            for part in parts:
                self._add(part)
        self._slots = [slot for slot in self._slots if (id(slot[0]), slot[1]) not in self._ignored]
        self._seen: list[Any] = []
        self._state: list[Any] = []
        self._key = Hashed(())

    def _add(self, part: object) -> None:
        attributes = getattr(part, "__dict__", {})
        self._slots += [(attributes, name) for name in attributes if name not in self._IGNORED]
        if isinstance(part, nn.Module):
            for group in (part._parameters, part._buffers, part._modules):
                self._slots += [(group, name) for name in group]

    def __call__(self) -> "Hashed":
        values: list[Any] = [group.get(name) for group, name in self._slots]
        state = [(v.data_ptr(), v.requires_grad) for v in values if type(v) in _PLAIN_TENSORS]
        same = len(values) == len(self._seen) and all(a is b for a, b in zip(values, self._seen, strict=True))
        if not same or state != self._state:
            self._seen, self._state = values, state
            self._key = Hashed(tuple(map(_identity, values)))
        return self._key

    def ignore(self, slots: Sequence[Slot]) -> None:
        """Watch these attributes no longer: each replay writes them."""
        self._ignored |= {(id(group), name) for group, name in slots}
        self.refresh()

    def changes(self) -> Callable[[], list[tuple[Slot, Any]]]:
        """A function that finds, later, the attributes that are not as now, and the values that they had."""
        self.refresh()
        before = {(id(group), name): group[name] for group, name in self._slots}

        def changed() -> list[tuple[Slot, Any]]:
            self.refresh()
            old = [(slot, before.get((id(slot[0]), slot[1]), _ABSENT)) for slot in self._slots]
            return [(slot, value) for slot, value in old if _identity(slot[0][slot[1]]) != _identity(value)]

        return changed


_ABSENT = object()


def put_back(changes: list[tuple[Slot, Any]]) -> None:
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
    if isinstance(value, weakref.ref):  # a cache by its nature: what it held may be gone at any time
        return weakref.ref
    return (type(value), value) if type(value) in _VALUES else id(value)
