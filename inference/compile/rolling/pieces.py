"""Small parts of rewritten graphs: operations in Python that the compiler traces, and their arguments."""

from typing import Any

import torch
from torch import Tensor

from pyrovae.inference.compile.rolling.dataflow import aten

__all__ = ["copied", "free", "listed", "moved", "reshape", "zeros"]


def free(target: Any) -> Any:
    """A view as an operation that may copy, for tensors whose strides are others than when the view was recorded.

    Args:
        target: the operation of the view.
    """
    return reshape if target in (aten.view.default, aten._unsafe_view.default) else target


def listed(value: Any) -> Any:
    """An argument as operations take it: a list where it is a tuple.

    Args:
        value: an argument.
    """
    return list(value) if isinstance(value, tuple) else value


def moved(rank: int, old: int, new: int) -> list[int]:
    """The order of dimensions that moves one of them.

    Args:
        rank: the number of dimensions.
        old: where the dimension is.
        new: where it goes.
    """
    order = [dim for dim in range(rank) if dim != old]
    return [*order[:new], old, *order[new:]]


def reshape(value: Tensor, shape: list[int]) -> Tensor:
    """The tensor in another shape.

    Args:
        value: a tensor.
        shape: its new shape.
    """
    return value.reshape(shape)


def copied(value: Tensor) -> Tensor:
    """A contiguous copy.

    Args:
        value: a tensor.
    """
    return value.clone(memory_format=torch.contiguous_format)


def zeros(shape: list[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros.

    Args:
        shape, dtype, device: as of `torch.zeros`.
    """
    return torch.zeros(shape, dtype=dtype, device=device)
