"""Views of each entry of a stack, as views of the stack."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["BATCHED"]

aten = torch.ops.aten


def _later(dim: int) -> int:
    """A dimension of an entry, counted in the stack."""
    return dim + 1 if dim >= 0 else dim


def _transposed(stack: Tensor) -> tuple[Any, tuple]:
    return (aten.transpose.int, (1, 2)) if stack.dim() == 3 else (aten.alias.default, ())


def _permuted(stack: Tensor, order: tuple[int, ...]) -> tuple[Any, tuple]:
    return aten.permute.default, ([0, *(dim % (stack.dim() - 1) + 1 for dim in order)],)


BATCHED: dict[Any, Callable[..., tuple[Any, tuple]]] = {
    aten.t.default: _transposed,
    aten.transpose.int: lambda _, a, b: (aten.transpose.int, (_later(a), _later(b))),
    aten.permute.default: _permuted,
    aten.view.default: lambda stack, shape: (Tensor.reshape, ((len(stack), *shape),)),
    aten._unsafe_view.default: lambda stack, shape: (Tensor.reshape, ((len(stack), *shape),)),
    aten.expand.default: lambda stack, shape: (aten.expand.default, ([len(stack), *shape],)),
    aten.unsqueeze.default: lambda _, dim: (aten.unsqueeze.default, (_later(dim),)),
    aten.squeeze.dim: lambda _, dim: (aten.squeeze.dim, (_later(dim),)),
    aten.select.int: lambda _, dim, index: (aten.select.int, (_later(dim), index)),
    aten.slice.Tensor: lambda _, dim=0, *bounds: (aten.slice.Tensor, (_later(dim), *bounds)),
}
"""For each view: that view of all entries of a stack, from the stack and the arguments after the entry."""
