"""The conditional variational autoencoder: p(x, z | y) = p(z | y) p(x | z, y)."""

import inspect

import pyro
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.program import Program, plate_size

__all__ = ["ConditionalVAE"]


class ConditionalVAE(Program):
    """p(x, z | y) = p(z | y) p(x | decoder(z, y)), where y is a label or any tensor, such as a part of an image.

    The evidence of this model is the conditional log-likelihood, log p(x | y).

    Args:
        prior: `prior(y) -> p(z | y)`, or `prior() -> p(z)` for a code that is independent of y, such as a style.
        likelihood: `likelihood(params) -> p(x | params)`.
        decoder: a network of two inputs, z `(*, D)` and y, to `(*, *likelihood.params_shape)`, such as a `JointMLP`,
            which makes labels one-hot.

    Call it with `y` of shape `(B, *)` and a batch `x` of shape `(B, *event)` to score, without `x` to generate.

    References: Sohn et al. (2015), Learning structured output representation using deep conditional generative models;
    Kingma et al. (2014), arXiv:1406.5298, for labels.
    """

    def __init__(self, prior: nn.Module, likelihood: Likelihood, decoder: nn.Module) -> None:
        super().__init__()
        self.prior, self.likelihood, self.decoder = prior, likelihood, decoder
        self.conditional = bool(inspect.signature(prior.forward).parameters)

    def prior_given(self, y: Tensor) -> TorchDistribution:
        """p(z | y), which is p(z) where the prior does not take `y`."""
        return self.prior(y) if self.conditional else self.prior()

    def forward(self, y: Tensor, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        """Score `x`, or generate; `size`, if given, is the number of rows of `y`."""
        with pyro.plate("data", plate_size(y, size), dim=-1):
            z = pyro.sample("z", self.prior_given(y))  # z ~ p(z | y)
            return pyro.sample("x", self.likelihood(self.decoder(z, y)), obs=x)  # x ~ p(x | z, y)
