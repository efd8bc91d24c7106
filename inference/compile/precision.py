"""The precision of matrix products and convolutions."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrovae.imports import private

__all__ = ["PRECISIONS", "precise"]

pytree = private("torch.utils._pytree")
if TYPE_CHECKING:
    from torch.utils._python_dispatch import TorchDispatchMode
else:
    TorchDispatchMode = private("torch.utils._python_dispatch", "TorchDispatchMode")

PRECISIONS = ("fp32", "bf16")
"""The names that `precise` takes."""


def precise(precision: str) -> AbstractContextManager[Any]:
    """A context in which programs run at a precision.

    Args:
        precision: `"fp32"` changes nothing; `"bf16"` computes matrix products and convolutions in bfloat16.
    """
    return _BFloat16Products() if precision == "bf16" else nullcontext()


class _BFloat16Products(TorchDispatchMode):
    """Rounds the operands of matrix products and convolutions, forward and backward, to bfloat16.

    The products accumulate in float32 and their results are float32, and so are parameters, gradients, optimizer
    state and log-probabilities.
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
