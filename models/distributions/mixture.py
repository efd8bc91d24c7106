"""Mixtures of diagonal normals whose density is computed by matrix products."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrovae.numeric import wide

__all__ = ["DiagonalMixture"]


class DiagonalMixture(TorchDistribution):
    """p(z) = sum_k w_k prod_d Normal(z_d; loc_kd, scale_kd).

    The density of draws `(S, B, D)` takes two matrix products and S x B x K numbers, not S x B x K x D. The products
    are in float64, because large terms cancel in their sum. Draws have no gradient.

    Args:
        loc: the means, `(K, D)`.
        scale: the standard deviations, `(K, D)`.
        logits: the logarithms of the weights w up to a constant, `(K,)`.
        batch_shape: the number of independent draws in each dimension of a batch.
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector

    def __init__(self, loc: Tensor, scale: Tensor, logits: Tensor, batch_shape: Any = torch.Size()) -> None:  # noqa: B008
        self.loc, self.scale, self.logits = loc, scale, logits
        super().__init__(torch.Size(batch_shape), loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "DiagonalMixture":
        return DiagonalMixture(self.loc, self.scale, self.logits, batch_shape)

    @property
    def mean(self) -> Tensor:
        return (self.logits.softmax(-1) @ self.loc).expand(self.batch_shape + self.event_shape)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        with torch.no_grad():
            k = dist.Categorical(logits=self.logits).sample(self._extended_shape(sample_shape)[:-1])
            return torch.normal(self.loc[k], self.scale[k])

    def log_prob(self, value: Tensor) -> Tensor:
        loc, scale, z = wide(self.loc), wide(self.scale), wide(value)
        precision = scale.square().reciprocal()
        # log N(z; k) = z . (precision_k loc_k) - z^2 . precision_k / 2 + constant_k. The constant, too, is a product:
        # inductor cannot compile a sum over d of parameters that the same graph updates (pytorch issue 196570).
        constant = -(loc.square() * precision + 2 * scale.log() + math.log(2 * math.pi)) / 2
        weights = torch.cat([(precision * loc).mT, -precision.mT / 2])
        log_prob = torch.cat([z, z.square()], -1) @ weights + (z.new_ones(1, z.shape[-1]) @ constant.mT)[0]
        log_prob = (log_prob.to(value.dtype) + self.logits.log_softmax(-1)).logsumexp(-1)
        return log_prob.expand(torch.broadcast_shapes(log_prob.shape, self.batch_shape))
