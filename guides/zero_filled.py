"""The guide of incomplete data: q(z | x_observed)."""

from typing import Any

import torch
from torch import Tensor

from pyrovae.models import Program

__all__ = ["ZeroFilled"]


class ZeroFilled(Program):
    """q(z | x_observed) = guide(x with 0 where it is missing), or of the mask too.

    Args:
        guide: any guide of x.
        mask: stack the mask onto x, along the first dimension of a datum: so the encoder tells a zero from a gap, and
            wants an `in_shape` twice as long there, `(2 D,)` for `(D,)` and `(2 C, H, W)` for `(C, H, W)`.

    Call it with `x` `(B, *event)`, which may hold NaN where it is missing, and `mask` bool of a shape that broadcasts
    to it, true where x was observed. Without a mask, all was observed.

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
