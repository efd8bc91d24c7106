"""Precision."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["PRECISIONS", "precise"]


PRECISIONS = ("fp32", "bf16")


def precise(precision: str) -> AbstractContextManager[Any]:
    """The context in which programs run at a precision: `"fp32"` (as written) or `"bf16"`."""
    return _BFloat16Products() if precision == "bf16" else nullcontext()


class _BFloat16Products(TorchDispatchMode):
    """Matrix products and convolutions, forward and backward, on operands rounded to bfloat16.

    The products accumulate in float32 and their results go on in float32, so parameters, gradients, optimizer
    state and log-probabilities keep it.
    """

    _OPERATIONS = frozenset(
        getattr(torch.ops.aten, name).default
        for name in ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward")
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func not in self._OPERATIONS:
            return func(*args, **kwargs)
        args, kwargs = pytree.tree_map_only(Tensor, _narrow, (args, kwargs))
        return pytree.tree_map_only(Tensor, _widen, func(*args, **kwargs))


def _narrow(tensor: Tensor) -> Tensor:
    return tensor.to(torch.bfloat16) if tensor.dtype == torch.float32 else tensor


def _widen(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32) if tensor.dtype == torch.bfloat16 else tensor
