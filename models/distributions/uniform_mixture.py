"""A mixture of diagonal normals of equal weights, of which each data point may lack some."""

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

__all__ = ["UniformMixture"]


class UniformMixture(TorchDistribution):
    """q(z) = 1/|A| sum_{k in A} prod_d Normal(z_d; loc_kd, scale_kd), where A are the components that are available.

    A draw is one of a component, and its density is that of the whole mixture. The weights are no parameters, so draws
    have the pathwise gradient of their component, which is unbiased. Draws are stratified: those of one data point take
    the available components in turn, from a random one on. So S draws hold each component S / |A| times, rounded up or
    down, and each single draw has the density of the mixture.

    Args:
        loc: the means, `(*batch, K, D)`.
        scale: the standard deviations, `(*batch, K, D)`.
        available: which components there are, bool `(*batch, K)`; at least one for each data point.

    References: Shi et al. (2019), arXiv:1911.03393, for stratified draws of a mixture of experts.
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, available: Tensor) -> None:
        self.loc, self.scale, self.available = loc, scale, available
        super().__init__(available.shape[:-1], loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "UniformMixture":
        shape, (k, d) = torch.Size(batch_shape), self.loc.shape[-2:]
        parts = self.loc.expand(*shape, k, d), self.scale.expand(*shape, k, d), self.available.expand(*shape, k)
        return UniformMixture(*parts)

    @property
    def mean(self) -> Tensor:
        return self._average(self.loc)

    @property
    def variance(self) -> Tensor:
        return self._average(self.scale.square() + self.loc.square()) - self.mean.square()

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        chosen = self._in_turn(shape[:-1])
        loc, scale = (torch.where(chosen, part, 0).sum(-2) for part in (self.loc, self.scale))
        return loc + scale * torch.randn(shape, dtype=loc.dtype, device=loc.device)

    def log_prob(self, value: Tensor) -> Tensor:
        error = (value.unsqueeze(-2) - self.loc) / self.scale
        each = -(error.square() / 2 + self.scale.log() + math.log(2 * math.pi) / 2).sum(-1)
        total = torch.where(self.available, each, -torch.inf).logsumexp(-1)
        return total - self._count(each.dtype).log()

    def _average(self, part: Tensor) -> Tensor:
        """The mean over the available components, `(*batch, D)`."""
        return torch.where(self.available.unsqueeze(-1), part, 0).sum(-2) / self._count(part.dtype).unsqueeze(-1)

    def _count(self, dtype: torch.dtype) -> Tensor:
        """|A|, `(*batch,)`."""
        return self.available.sum(-1).to(dtype)

    def _in_turn(self, shape: torch.Size) -> Tensor:
        """The component of each draw, as an indicator `(*shape, K, 1)`; the last dimension of `shape` is the data."""
        size, device = shape[-1:], self.loc.device
        count = self.available.sum(-1)
        # The numbers have the event dimension of a draw, so that the data are in the same place as in other noise.
        first = torch.rand(*[1] * (len(shape) - 1), *size, 1, device=device, dtype=self.loc.dtype).squeeze(-1) * count
        place = torch.arange(shape[:-1].numel(), device=device).reshape(*shape[:-1], *[1] * len(size))
        turn = (first.long().minimum(count - 1) + place) % count
        order = self.available.cumsum(-1) - 1
        return ((order == turn.unsqueeze(-1)) & self.available).unsqueeze(-1)
