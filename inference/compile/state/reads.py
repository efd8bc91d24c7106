"""The places that a program reads: entries of namespaces, closure cells, and the content of containers."""

from collections.abc import Callable
from functools import partial
from types import CellType
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch
from torch import Tensor

__all__ = ["ABSENT", "CONSTRAINTS", "CONTENT", "PARAMS", "PLAIN", "Read", "Same", "key_of"]

PLAIN: tuple[type, ...] = (bool, int, float, complex, str, bytes, type(None), type(...), np.generic)
PLAIN += (torch.dtype, torch.device, torch.Size)
ABSENT = object()
CONTENT = object()


class _OfStore:
    """One of the dicts of Pyro's store, which replaces them when it is cleared, set or scoped."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get(self, key: str, default: Any) -> Any:
        return getattr(pyro.get_param_store(), self._name).get(key, default)


PARAMS, CONSTRAINTS = _OfStore("_params"), _OfStore("_constraints")


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

    def getter(self) -> Callable[[], Any]:
        """A function that returns what is there when it is called; it is called at each step."""
        if self.key is CONTENT:
            return partial(_content, self.holder)
        if isinstance(self.holder, CellType):
            return partial(_cell, self.holder)
        return partial(self.holder.get, self.key, ABSENT)

    def value(self) -> Any:
        """What is there now."""
        return self.getter()()

    def put(self, value: Any) -> None:
        """Put a value back that was there before."""
        holder = self.holder
        if self.key is CONTENT:
            _refill(holder, value)
        elif isinstance(holder, CellType):
            holder.cell_contents = value
        elif value is ABSENT:
            holder.pop(self.key, None)
        elif isinstance(holder, dict):
            holder[self.key] = value


def _cell(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return ABSENT


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


def key_of(value: Any) -> Any:
    """A value in a key: plain values by type and value, tensors with what a graph bakes in, all else by identity."""
    if isinstance(value, PLAIN):
        return type(value), value
    if isinstance(value, Tensor):
        return Same(value), value.dtype, value.device, value.shape, value.requires_grad
    if type(value) is tuple:
        return tuple(map(key_of, value))
    return Same(value)
