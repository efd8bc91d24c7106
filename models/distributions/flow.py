"""Normalizing flows: a simple density pushed through bijections."""

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

__all__ = ["Flow"]


MEAN_DRAWS = 256


class Flow(TorchDistribution):
    """z = f_L(... f_1(u)), u ~ base, so p(z) = base(u) / |det dz/du|.

    A draw is scored on the way; any other value by the inverses of the steps. The mean has no closed form: `mean` is
    that of 256 draws.

    Args:
        base: distribution of u, event shape `(D,)`.
        steps: bijections f_1 ... f_L (`pyrovae.networks.bijections`).
        context: what the steps are given beside u, batch shape as the base's.
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
        """The flows of the steps of a sequence as one of batch shape `(*, T)`, which drew `drawn`, `(*, T, D)`."""
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
