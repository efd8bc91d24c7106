"""What fixes a training: settings, data, loss and pair as plain words and numbers, the same in every process.

A checkpoint holds them, and a resumed training must have the same.
"""

import hashlib
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from pyro import poutine
from torch import Tensor, nn

from pyrovae.data import Batch
from pyrovae.data.source import LazyBatch

__all__ = ["described", "fingerprint"]

_CHANGING = {"training", "max_plate_nesting", "layout", "num_batches_tracked"}
"""Attributes that a run changes."""

_HASHED = 2**26
"""Data of at most so many bytes are hashed as a whole, larger data in rows at equal distances."""

_SAMPLED = 256
"""So many rows of a source are hashed."""

_OURS = ("pyrovae", "torch", "pyro")
"""Packages whose modules hold only settings in plain attributes; a user's own may count steps there."""


def described(value: Any) -> dict[str, Any]:
    """The settings of an object: classes, functions and plain values, by the path of attributes that leads to each.

    Tensors are left out: parameters and buffers change in a training, and a checkpoint has them.

    Args:
        value: a program, a loss, a transform, or None.
    """
    found: dict[str, Any] = {}
    _describe(value, "", found, frozenset())
    return found


def _describe(value: Any, path: str, found: dict[str, Any], above: frozenset[int]) -> None:
    if value is None or isinstance(value, bool | int | float | str):
        found[path] = value
    elif isinstance(value, partial):
        _inside({"function": value.func, **dict(enumerate(value.args)), **value.keywords}, path, found, above)
    elif inspect.ismethod(value):
        found[f"{path}()"] = value.__name__
        _describe(value.__self__, path, found, above)
    elif inspect.isroutine(value) or inspect.isclass(value):
        found[path] = _name(value)
    elif isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        _inside(dict(enumerate(value)), path, found, above)
    elif not isinstance(value, Tensor) and id(value) not in above:
        found[path] = _name(type(value))
        _inside(_attributes(value), path, found, above | {id(value)})


def _inside(parts: Mapping[Any, Any], path: str, found: dict[str, Any], above: frozenset[int]) -> None:
    for name, part in parts.items():
        _describe(part, f"{path}.{name}".lstrip("."), found, above)


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object that are settings, and the modules inside it."""
    if isinstance(value, nn.Module):
        own = vars(value) if type(value).__module__.split(".")[0] in _OURS else {}
        plain = {name: part for name, part in own.items() if _is_setting(name, part)}
        return plain | dict(value.named_children())
    if isinstance(value, poutine.messenger.Messenger) or not hasattr(value, "__dict__"):
        return {}
    return {name: part for name, part in vars(value).items() if not name.startswith("__") and name not in _CHANGING}


def _is_setting(name: str, value: Any) -> bool:
    """Whether an attribute of a module is one that its constructor was given."""
    if name in _CHANGING or name.startswith(("_pyro", "_backward", "_forward", "_is_full", "_non_persistent")):
        return False
    plain = bool | int | float | str | tuple | partial
    return isinstance(value, plain) or inspect.isroutine(value) or hasattr(type(value), "__dataclass_fields__")


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', None) or ''}.{getattr(thing, '__qualname__', type(thing).__name__)}"


def fingerprint(data: Batch) -> str:
    """Names, shapes and types of some data, and a hash of their values.

    Data above 64 MiB are hashed in part: rows at equal distances. Of a source they are few, since each may be a
    reading of the disk; its number of rows counts too.

    Args:
        data: named tensors.
    """
    digest = hashlib.sha256()
    shapes = [f"{data.size} rows"] if isinstance(data, LazyBatch) else []
    for name, tensor in (data.sample(_SAMPLED) if isinstance(data, LazyBatch) else data).items():
        shapes.append(f"{name} {tensor.dtype} {tuple(tensor.shape)}".replace("torch.", ""))
        size = tensor.numel() * tensor.element_size()
        rows = tensor[:: max(1, -(-size // _HASHED))]
        digest.update(rows.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"{', '.join(shapes)}; {digest.hexdigest()[:16]}" if data else "none"
