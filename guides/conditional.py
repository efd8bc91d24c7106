"""The guide of a conditional model: q(z | x, y)."""

import pyro
from torch import Tensor

from pyrovae.guides.amortized import AmortizedGuide
from pyrovae.models.program import Program

__all__ = ["ConditionalGuide"]


class ConditionalGuide(Program):
    """q(z | x, y) = guide.given(x, y), by any guide of one latent vector whose encoder takes two inputs.

    Args:
        guide: the guide of z, such as `NormalGuide(JointMLP([x_shape, y_shape], 2 * D))`.

    References: Sohn et al. (2015), Learning structured output representation using deep conditional generative models.
    """

    def __init__(self, guide: AmortizedGuide) -> None:
        super().__init__()
        self.guide = guide

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", self.guide.given(x, y))  # z ~ q(z | x, y)
