"""The point-mass guide, which makes a model an autoencoder: q(z | x) is a point mass at one code."""

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrovae.guides.amortized import AmortizedGuide

__all__ = ["DeltaGuide"]


class DeltaGuide(AmortizedGuide):
    """q(z | x) = delta(z - encoder(x)).

    Under `priors.Flat` the loss is the distortion alone, -log p(x | encoder(x)). With a normal likelihood of fixed
    scale that is, up to constants, the squared error of a deterministic autoencoder. Under a proper prior the encoder
    learns to maximise p(x, z) over z. A point mass has no density, so no evidence can be estimated with it.

    Args:
        encoder: a network `(*, *event) -> (*, D)`.

    References: Hinton & Salakhutdinov (2006), Reducing the dimensionality of data with neural networks.
    """

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, D)`, event shape `(D,)`."""
        return dist.Delta(params, event_dim=1)
