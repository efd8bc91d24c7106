"""The variational autoencoder: p(x, z) = p(z) p(x | z)."""

import pyro
from torch import Tensor, nn

from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.program import Program, plate_size

__all__ = ["VAE"]


class VAE(Program):
    """p(x, z) = p(z) p(x | decoder(z)).

    Args:
        prior: `prior() -> p(z)`, event shape `(D,)`.
        likelihood: `likelihood(params) -> p(x | params)`.
        decoder: a network `(*, D) -> (*, *likelihood.params_shape)`.

    Call it with a batch `x` of shape `(B, *event)` to score, or with `size` to generate.

    References: Kingma & Welling (2014), arXiv:1312.6114; Rezende et al. (2014), arXiv:1401.4082.
    """

    def __init__(self, prior: nn.Module, likelihood: Likelihood, decoder: nn.Module) -> None:
        super().__init__()
        self.prior, self.likelihood, self.decoder = prior, likelihood, decoder

    def forward(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        with pyro.plate("data", plate_size(x, size), dim=-1):
            z = pyro.sample("z", self.prior())  # z ~ p(z)
            return pyro.sample("x", self.likelihood(self.decoder(z)), obs=x)  # x ~ p(x | z)
