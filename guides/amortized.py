"""What the guides of one latent vector share: q(z | x) = posterior(encoder(x))."""

from abc import abstractmethod

import pyro
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import ShapeError
from pyrovae.models import Program

__all__ = ["AmortizedGuide", "check_width"]


class AmortizedGuide(Program):
    """q(z | x) = posterior(encoder(x)).

    Args:
        encoder: a network `(*, *event) -> (*, P)`, P as many numbers as the family of posteriors wants.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, P)`, event shape `(D,)`."""

    def given(self, *inputs: Tensor) -> TorchDistribution:
        """q(z | x), or q(z | x, y, ...) by an encoder of several inputs."""
        return self.posterior(self.encoder(*inputs))

    def forward(self, x: Tensor) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", self.given(x))  # z ~ q(z | x)


def check_width(guide: Program, params: Tensor, wanted: str, fits: bool) -> None:
    """Raise ShapeError where the encoder emits another number of parameters than the guide splits up."""
    if not fits:
        raise ShapeError(
            f"{type(guide).__name__} wants an encoder of {wanted} outputs, got {params.shape[-1]}. Build it with that "
            "out_shape."
        )
