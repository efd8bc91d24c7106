"""The base class of guides of one latent vector: q(z | x) = posterior(encoder(x))."""

from abc import abstractmethod

import pyro
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import ShapeError
from pyrovae.models.program import Program

__all__ = ["AmortizedGuide", "check_width"]


class AmortizedGuide(Program):
    """q(z | x) = posterior(encoder(x)). A subclass defines the family of distributions, `posterior`.

    Args:
        encoder: a network `(*, *event) -> (*, P)`, where P is the number of parameters of the family.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, P)`, event shape `(D,)`."""

    def given(self, *inputs: Tensor) -> TorchDistribution:
        """q(z | x) for one input x, or q(z | x, y, ...) for the `inputs` of an encoder of several."""
        return self.posterior(self.encoder(*inputs))

    def forward(self, x: Tensor) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", self.given(x))  # z ~ q(z | x)


def check_width(guide: Program, params: Tensor, wanted: str, fits: bool) -> None:
    """Raise ShapeError where the encoder emits another number of parameters than the guide requires.

    Args:
        guide: the guide, which the message names.
        params: what the encoder emits, `(*, P)`.
        wanted: the number required, or its formula, for the message.
        fits: whether P is such a number.
    """
    if not fits:
        raise ShapeError(
            f"{type(guide).__name__} requires an encoder of {wanted} outputs, got {params.shape[-1]}. Build it "
            "with that out_shape."
        )
