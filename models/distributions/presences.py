"""The distribution of how many of N steps are taken, as a vector of ones and then zeros."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints, register_kl
from torch.nn.functional import logsigmoid, pad

__all__ = ["Presences"]


class _OnesThenZeros(constraints.Constraint):
    """Vectors 1^n 0^(N - n), `(*, N)`."""

    is_discrete, event_dim = True, 1

    def check(self, value: Tensor) -> Tensor:
        binary = ((value == 0) | (value == 1)).all(-1)
        return binary & (value[..., 1:] <= value[..., :-1]).all(-1)


class Presences(TorchDistribution):
    """p(z) of z = 1^n 0^(N - n), n in {0, ..., N}: the chance to go on after i - 1 steps is s_i = sigmoid(logits_i).

        p(n) = s_1 ... s_n (1 - s_(n+1)) for n < N, and p(N) = s_1 ... s_N.

    With equal logits it is the geometric distribution, cut at N. Logits of any values give any distribution of n.

    Args:
        logits: those of the chances, `(*, N)`.

    References: Eslami et al. (2016), arXiv:1603.08575.
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012
    support = _OnesThenZeros()
    has_enumerate_support = True

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Presences":
        return Presences(self.logits.expand(*batch_shape, *self.event_shape))

    @property
    def log_probs(self) -> Tensor:
        """log p(n) of n = 0, ..., N, `(*, N + 1)`."""
        on = pad(logsigmoid(self.logits).cumsum(-1), (1, 0))
        return on + pad(logsigmoid(-self.logits), (0, 1))

    @property
    def mean(self) -> Tensor:
        """The chance of each step to be taken, `(*, N)`."""
        return logsigmoid(self.logits).cumsum(-1).exp()

    @property
    def variance(self) -> Tensor:
        return self.mean * (1 - self.mean)

    @property
    def mode(self) -> Tensor:
        """The most probable vector, `(*, N)`."""
        return self._of(self.log_probs.argmax(-1, keepdim=True))

    def _of(self, count: Tensor) -> Tensor:
        """1^n 0^(N - n) of counts n, `(*, 1)`."""
        return (torch.arange(self.event_shape[0], device=count.device) < count).to(self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        before = pad(value[..., :-1], (1, 0), value=1.0)
        return (value * logsigmoid(self.logits) + (before - value) * logsigmoid(-self.logits)).sum(-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        with torch.no_grad():
            on = torch.rand(self._extended_shape(sample_shape), dtype=self.logits.dtype, device=self.logits.device)
            return (on < self.logits.sigmoid()).to(self.logits.dtype).cumprod(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """The N + 1 vectors, in the order of n: `(N + 1, *, N)`.

        Args:
            expand: whether to repeat them over the batch shape; otherwise its sizes are 1.
        """
        steps = self.event_shape[0]
        values = self._of(torch.arange(steps + 1, device=self.logits.device).unsqueeze(-1))
        values = values.reshape(steps + 1, *(1,) * len(self.batch_shape), steps)
        return values.expand(-1, *self.batch_shape, -1) if expand else values

    def entropy(self) -> Tensor:
        return -(self.log_probs.exp() * self.log_probs).sum(-1)


@register_kl(Presences, Presences)
def _kl_presences(q: Presences, p: Presences) -> Tensor:
    return (q.log_probs.exp() * (q.log_probs - p.log_probs)).sum(-1)
