"""The Dirichlet guide, of shares that sum to one."""

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrovae.guides.amortized import AmortizedGuide
from pyrovae.numeric import bounded_scale

__all__ = ["DirichletGuide"]


class DirichletGuide(AmortizedGuide):
    """q(z | x) = Dirichlet(z; a(x)), drawn with implicit reparameterisation gradients.

    Args:
        encoder: a network `(*, *event) -> (*, K)`, which emits about log a. The concentration lies between 0.02, below
            which shares in float32 round to 0, and e^9, about 8,000.

    References: Figurnov, Mohamed & Mnih (2018), arXiv:1805.08498; Burkhardt & Kramer (2019), Decoupling sparsity and
    smoothness in the Dirichlet variational autoencoder topic model.
    """

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, K)`, event shape `(K,)`."""
        return dist.Dirichlet(0.02 + bounded_scale(params, 9.0))
