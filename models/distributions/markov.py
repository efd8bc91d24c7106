"""Markov chains of vectors, as one distribution of whole sequences that end at different steps."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from pyro.distributions import Independent, Normal, TorchDistribution
from torch import Tensor
from torch.distributions import constraints, kl_divergence, register_kl

from pyrovae.models.distributions.flow import Flow

__all__ = ["Markov", "Step"]

Step = Callable[..., TorchDistribution]
"""A step of a chain: from z_(t-1) `(*, D)`, and perhaps a context `(*, H)`, to p(z_t | z_(t-1)), batch shape `(*)`."""


class Markov(TorchDistribution):
    """p(z_1 ... z_T) = prod_t p(z_t | z_(t-1)), event shape `(T, D)`, with z_0 given.

    A draw takes T steps, one after the other; the density of a value takes one call. After the end of a sequence, a
    step has density one and its draw is 0, so the density of a sequence does not depend on its padding.

    Args:
        step: `step(z_(t-1), *context_t) -> p(z_t | z_(t-1))`, from `(*, D)` to a distribution of batch shape `(*)`.
        start: z_0, `(D,)`.
        within: bool `(*, T)`, true up to the end of each sequence.
        context: further inputs of the step, each `(*, T, H)`.
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
        if whole := _joined(steps, draws, drawn):
            self._know(drawn, whole)
        return drawn

    def _inputs(self) -> Iterable[tuple[Tensor, ...]]:
        """For each step, whether it is within its sequence, `(*, 1)`, and its context, `(*, H)` each."""
        parts = (self.within.unsqueeze(-1), *self.context)
        return zip(*(part.unbind(-2) for part in parts), strict=True)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.summed(self.given(value).log_prob(value))

    @property
    def mean(self) -> Tensor:
        """The path of means, each of a step given the mean of the step before."""
        z, path = self.start.expand(*self.batch_shape, -1), []
        for within, *context in self._inputs():
            z = torch.where(within, self.step(z, *context).mean, 0.0)
            path.append(z)
        return torch.stack(path, -2)

    def given(self, value: Tensor) -> TorchDistribution:
        """p(z_t | z_(t-1)) of all steps as one distribution, batch shape `(*, T)`.

        That of the last draw, or of the last value, is kept and returned again.

        Args:
            value: z, `(*, T, D)`.
        """
        known, steps, had_gradients = self._known
        if value is known and had_gradients == torch.is_grad_enabled():
            return steps
        first = self.start.expand_as(value[..., :1, :])
        return self._know(value, self.step(torch.cat([first, value[..., :-1, :]], -2), *self.context))

    def _know(self, value: Tensor, steps: TorchDistribution) -> TorchDistribution:
        self._known = (value, steps, torch.is_grad_enabled())
        return steps

    def summed(self, terms: Tensor) -> Tensor:
        """The sum of `terms`, `(*, T)`, over the steps of each sequence, `(*,)`; padding adds nothing."""
        return torch.where(self.within, terms, 0.0).sum(-1)


def _joined(steps: Sequence[Any], draws: Sequence[Tensor], drawn: Tensor) -> TorchDistribution | None:
    """The distributions of the T steps of a draw, as one of batch shape `(*, T)`, without computing them again.

    The result is None where they are neither diagonal normals nor flows.

    Args:
        steps: T distributions of batch shape `(*,)`.
        draws: the draw of each, `(*, D)`.
        drawn: the same draws as one tensor `(*, T, D)`, with padding set to 0.
    """
    if isinstance(steps[0], Flow):
        return Flow.joined(steps, draws, drawn)
    if isinstance(steps[0], Independent) and isinstance(steps[0].base_dist, Normal):
        loc, scale = (torch.stack([getattr(s.base_dist, name) for s in steps], -2) for name in ("loc", "scale"))
        return Normal(loc, scale).to_event(1)
    return None


@register_kl(Markov, Markov)
def _rate_of_a_draw(q: Markov, p: Markov) -> Tensor:
    """sum_t KL(q(z_t | z_(t-1)) || p(z_t | z_(t-1))) along the last draw z of q. Its mean over draws is KL(q || p).

    Raises:
        NotImplementedError: the divergence of two steps has no closed form, as for flows.
    """
    z = q.rsample() if q.drawn is None else q.drawn
    return q.summed(kl_divergence(q.given(z), p.given(z)))
