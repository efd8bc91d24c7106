"""A mixture in the latent space whose component is a latent of its own: p(x, c, z) = p(c) p(z | c) p(x | z)."""

import pyro
from torch import Tensor, nn

from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.program import Program, plate_size

__all__ = ["MixtureVAE"]


class MixtureVAE(Program):
    """p(x, c, z) = p(c) p(z | c) p(x | decoder(z)), with a one-hot component c of K.

    p(z) is a mixture of K distributions, as `priors.MixtureOfNormals` is. Here the component is a site, so q(c | x)
    sorts data points into clusters, and `decode(model, {"c": c})` generates from one of them.

    Args:
        components: `components() -> p(c)` over one-hot vectors, event shape `(K,)`, such as `priors.OneHot(K)`.
        prior: `prior(c) -> p(z | c)`, event shape `(D,)`, such as `ConditionalNormal(MLP(K, 2 * D, hidden=[]))`.
        likelihood: `likelihood(params) -> p(x | params)`.
        decoder: a network `(*, D) -> (*, *likelihood.params_shape)`.

    Call it with a batch `x` of shape `(B, *event)` to score, or with `size` to generate.

    References: Dilokthanakul et al. (2016), arXiv:1611.02648; Jiang et al. (2017), arXiv:1611.05148 (VaDE).
    """

    def __init__(self, components: nn.Module, prior: nn.Module, likelihood: Likelihood, decoder: nn.Module) -> None:
        super().__init__()
        self.components, self.prior, self.likelihood, self.decoder = components, prior, likelihood, decoder

    def forward(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        with pyro.plate("data", plate_size(x, size), dim=-1):
            c = pyro.sample("c", self.components())  # c ~ p(c)
            z = pyro.sample("z", self.prior(c))  # z ~ p(z | c)
            return pyro.sample("x", self.likelihood(self.decoder(z)), obs=x)  # x ~ p(x | z)
