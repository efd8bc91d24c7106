"""Markov."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from pyro.distributions import Independent, Normal, TorchDistribution
from torch import Tensor
from torch.distributions import constraints, kl_divergence, register_kl

from pyrovae.models.distributions.flow import Flow

__all__ = ["Markov", "Step", "joined"]


Step = Callable[..., TorchDistribution]


class Markov(TorchDistribution):
    """p(z_1 ... z_T) = prod_t p(z_t | z_(t-1)), event shape `(T, D)`; z_0 is given.

    A draw takes T steps, one after the other; a value is scored at once. Steps beyond the end of a sequence have
    density one, and draws are 0 there, so a sequence's density does not depend on how far its batch is padded.

    Args:
        step: `step(z_(t-1), *context_t) -> p(z_t | z_(t-1))`, from `(*, D)` to a distribution of batch shape `(*)`.
        start: z_0, `(D,)`.
        within: whether a sequence goes on, `(*, T)`, bool: true up to its end, then false.
        context: what a step is given beside z, each `(*, T, H)`.
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(self, step: Step, start: Tensor, within: Tensor, *context: Tensor) -> None:
        self.step, self.start, self.within, self.context = step, start, within, context
        self.drawn: Tensor | None = None
        self._known: tuple[Any, Any, bool] = (None, None, False)
        super().__init__(within.shape[:-1], within.shape[-1:] + start.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Markov":
        within = self.within.expand(*batch_shape, self.within.shape[-1])
        return Markov(self.step, self.start, within, *self.context)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        z, steps, draws, path = self.start.expand(*sample_shape, *self.batch_shape, -1), [], [], []
        for within, *context in self._inputs():
            steps.append(self.step(z, *context))
            draws.append(steps[-1].rsample())
            z = torch.where(within, draws[-1], 0.0)
            path.append(z)
        self.drawn = drawn = torch.stack(path, -2)
        if whole := joined(steps, draws, drawn):
            self._know(drawn, whole)
        return drawn

    def _inputs(self) -> Iterable[tuple[Tensor, ...]]:
        """Step by step, whether it is within the sequences, `(*, 1)`, and its context."""
        parts = (self.within.unsqueeze(-1), *self.context)
        return zip(*(part.unbind(-2) for part in parts), strict=True)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.summed(self.given(value).log_prob(value))

    @property
    def mean(self) -> Tensor:
        """The path of means: that of each step given the mean before it."""
        z, path = self.start.expand(*self.batch_shape, -1), []
        for within, *context in self._inputs():
            z = torch.where(within, self.step(z, *context).mean, 0.0)
            path.append(z)
        return torch.stack(path, -2)

    def given(self, value: Tensor) -> TorchDistribution:
        """p(z_t | z_(t-1)) of all steps at once, batch shape `(*, T)`; those of the last draw or value are kept."""
        known, steps, had_gradients = self._known
        if value is known and had_gradients == torch.is_grad_enabled():
            return steps
        first = self.start.expand_as(value[..., :1, :])
        return self._know(value, self.step(torch.cat([first, value[..., :-1, :]], -2), *self.context))

    def _know(self, value: Tensor, steps: TorchDistribution) -> TorchDistribution:
        self._known = (value, steps, torch.is_grad_enabled())
        return steps

    def summed(self, terms: Tensor) -> Tensor:
        """The sum over the steps of a sequence of what each adds, `(*, T)`."""
        return torch.where(self.within, terms, 0.0).sum(-1)


def joined(steps: Sequence[Any], draws: Sequence[Tensor], drawn: Tensor) -> TorchDistribution | None:
    """The steps of a draw as one distribution of batch shape `(*, T)`; None for families without a short way to it."""
    if isinstance(steps[0], Flow):
        return Flow.joined(steps, draws, drawn)
    if isinstance(steps[0], Independent) and isinstance(steps[0].base_dist, Normal):
        loc, scale = (torch.stack([getattr(s.base_dist, name) for s in steps], -2) for name in ("loc", "scale"))
        return Normal(loc, scale).to_event(1)
    return None


@register_kl(Markov, Markov)
def _rate_of_a_draw(q: Markov, p: Markov) -> Tensor:
    """sum_t KL(q(z_t | z_(t-1)) || p(z_t | z_(t-1))) along the last draw z of q: its mean over draws is KL(q || p).

    Raises:
        NotImplementedError: the divergence of two steps has no closed form, a flow's say.
    """
    z = q.rsample() if q.drawn is None else q.drawn
    return q.summed(kl_divergence(q.given(z), p.given(z)))
