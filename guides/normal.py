"""Normal guides: with a diagonal, a full, or a low-rank plus diagonal covariance."""

import math

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.guides.amortized import AmortizedGuide, check_width
from pyrovae.models.distributions.normal import diagonal_normal
from pyrovae.numeric import bounded_scale

__all__ = ["FullNormalGuide", "LowRankNormalGuide", "NormalGuide"]


class NormalGuide(AmortizedGuide):
    """q(z | x) = prod_d Normal(z_d; loc_d(x), scale_d(x)).

    Args:
        encoder: a network `(*, *event) -> (*, 2 D)`, which emits loc and raw scale. The scale is bounded away from 0
            and infinity.

    References: Kingma & Welling (2014), arXiv:1312.6114.
    """

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, 2 D)`, event shape `(D,)`."""
        return diagonal_normal(params)


class FullNormalGuide(AmortizedGuide):
    """q(z | x) = Normal(z; loc(x), L(x) L(x)'), with L lower triangular.

    Args:
        encoder: a network `(*, *event) -> (*, 2 D + D (D - 1) / 2)`, which emits loc and the entries of L. The diagonal
            of L is bounded away from 0 and infinity.

    Raises:
        ShapeError: in a call, the encoder has another number of outputs.

    References: Kingma & Welling (2019), arXiv:1906.02691, section 2.5.1.
    """

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, 2 D + D (D - 1) / 2)`, event shape `(D,)`."""
        width = params.shape[-1]
        dim = (math.isqrt(9 + 8 * width) - 3) // 2
        check_width(self, params, "2 D + D (D - 1) / 2", dim * (dim + 3) == 2 * width)
        loc, below = params.split([dim, width - dim], -1)
        # The lower triangle of this square matrix holds each number once, and is built without indexing.
        square = torch.cat([below[..., dim:], below.flip(-1)], -1).unflatten(-1, (dim, dim))
        diagonal = torch.eye(dim, dtype=torch.bool, device=params.device)
        return dist.MultivariateNormal(loc, scale_tril=torch.where(diagonal, bounded_scale(square), square.tril()))


class LowRankNormalGuide(AmortizedGuide):
    """q(z | x) = Normal(z; loc(x), F(x) F(x)' + diag(scale(x)^2)), with F of shape `(D, R)`.

    Args:
        encoder: a network `(*, *event) -> (*, (2 + R) D)`, which emits loc, raw scale and F.
        rank: the number of columns of F, R.

    Raises:
        ShapeError: in a call, the number of outputs of the encoder is not a multiple of 2 + R.

    References: Ong et al. (2018), arXiv:1701.03208.
    """

    def __init__(self, encoder: nn.Module, rank: int) -> None:
        super().__init__(encoder)
        self.rank = rank

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, (2 + R) D)`, event shape `(D,)`."""
        dim = params.shape[-1] // (2 + self.rank)
        check_width(self, params, f"{2 + self.rank} D", dim * (2 + self.rank) == params.shape[-1])
        loc, raw_scale, factor = params.split([dim, dim, dim * self.rank], -1)
        return dist.LowRankMultivariateNormal(
            loc, factor.unflatten(-1, (dim, self.rank)), bounded_scale(raw_scale) ** 2
        )
