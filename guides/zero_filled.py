"""The guide of incomplete data, q(z | x_observed): missing entries are replaced by 0."""

from typing import Any

import torch
from torch import Tensor

from pyrovae.models.program import Program

__all__ = ["ZeroFilled"]


class ZeroFilled(Program):
    """q(z | x_observed) = guide(x with 0 where it is missing), or guide(the same, concatenated with the mask).

    Args:
        guide: any guide of x.
        mask: whether to concatenate the mask to x along the first event dimension. The encoder can then distinguish a
            zero from a missing entry, and its `in_shape` is twice as long there: `(2 D,)` for x of shape `(D,)`,
            `(2 C, H, W)` for `(C, H, W)`.

    Call it with `x` `(B, *event)`, which may be NaN where it is missing, and `mask`, bool, of that shape or one that
    broadcasts to it, true where x was observed. Without a mask, every entry counts as observed.

    References: Mattei & Frellsen (2019), MIWAE, arXiv:1812.02633; Nazábal et al. (2020), arXiv:1807.03653, section 3.
    """

    def __init__(self, guide: Any, *, mask: bool = False) -> None:
        super().__init__()
        self.guide, self.sees_mask = guide, mask

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        observed = torch.ones_like(x, dtype=torch.bool) if mask is None else mask.bool().expand_as(x)
        filled = torch.where(observed, x, 0)
        return self.guide(torch.cat([filled, observed.to(x.dtype)], 1) if self.sees_mask else filled)

    def extra_repr(self) -> str:
        return f"mask={self.sees_mask}"
