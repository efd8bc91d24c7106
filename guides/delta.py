"""The point-mass guide: q(z | x) puts all mass on one code, which makes an autoencoder of a model."""

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrovae.guides.amortized import AmortizedGuide

__all__ = ["DeltaGuide"]


class DeltaGuide(AmortizedGuide):
    """q(z | x) = delta(z - encoder(x)).

    Under `priors.Flat` the loss is the distortion alone, -log p(x | encoder(x)): with a normal likelihood of fixed
    scale, the squared error of a deterministic autoencoder. Under a proper prior it is the penalised one: the maximum
    of p(x, z) over codes, amortised. A point mass has no density, so no evidence can be estimated with it.

    Args:
        encoder: a network `(*, *event) -> (*, D)`.

    References: Hinton & Salakhutdinov (2006), Reducing the dimensionality of data with neural networks.
    """

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, D)`, event shape `(D,)`."""
        return dist.Delta(params, event_dim=1)
