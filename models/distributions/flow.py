"""Normalizing flows: the distribution of a simple random vector after bijections."""

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

__all__ = ["Flow"]

MEAN_DRAWS = 256
"""The number of draws whose mean stands for the mean of a flow."""


class Flow(TorchDistribution):
    """z = f_L(... f_1(u)), u ~ base, so p(z) = base(u) / |det dz/du|.

    The density of a draw is computed while it is drawn, that of any other value by the inverses of the steps. The mean
    has no closed form: `mean` is the mean of 256 draws.

    Args:
        base: the distribution of u, event shape `(D,)`.
        steps: the bijections f_1 ... f_L, such as those of `pyrovae.networks.bijections`.
        context: further inputs of every step, with the batch shape of the base.
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, base: TorchDistribution, steps: Sequence[Any], *context: Tensor) -> None:
        self.base, self.steps, self.context = base, steps, context
        self._drawn: tuple[Any, Any, bool] = (None, None, False)
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Flow":
        return Flow(self.base.expand(batch_shape), self.steps, *self.context)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        z = self.base.rsample(sample_shape)
        log_prob = self.base.log_prob(z)
        for step in self.steps:
            z, log_det = step(z, *self.context)
            log_prob = log_prob - log_det
        self._drawn = (z, log_prob, torch.is_grad_enabled())
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        z, log_prob, had_gradients = self._drawn
        if value is z and had_gradients == torch.is_grad_enabled():
            return log_prob
        total = torch.zeros((), dtype=value.dtype, device=value.device)
        for step in reversed(self.steps):
            value, log_det = step.inverse(value, *self.context)
            total = total + log_det
        return self.base.log_prob(value) - total

    @classmethod
    def joined(cls, flows: "Sequence[Flow]", draws: Sequence[Tensor], drawn: Tensor) -> "Flow":
        """The flows of the T steps of a sequence as one flow of batch shape `(*, T)`, with the density of its draw.

        Args:
            flows: T flows of batch shape `(*,)`, with normal bases and the same bijections.
            draws: the draw of each flow, `(*, D)`.
            drawn: the same draws as one tensor `(*, T, D)`, with padding set to 0.
        """
        bases: list[Any] = [flow.base for flow in flows]
        loc, scale = (torch.stack([getattr(base.base_dist, name) for base in bases], -2) for name in ("loc", "scale"))
        contexts = zip(*(flow.context for flow in flows), strict=True)
        whole = cls(dist.Normal(loc, scale).to_event(1), flows[0].steps, *(torch.stack(c, -2) for c in contexts))
        log_prob = torch.stack([flow.log_prob(z) for flow, z in zip(flows, draws, strict=True)], -1)
        whole._drawn = (drawn, log_prob, torch.is_grad_enabled())
        return whole

    @property
    def mean(self) -> Tensor:
        return self.rsample(torch.Size([MEAN_DRAWS])).mean(0)
