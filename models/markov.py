"""The deep Markov model of sequences: p(x, z) = prod_t p(z_t | z_(t-1)) p(x_t | z_t)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyro
import torch
from pyro.distributions import Independent, Normal, TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints, kl_divergence, register_kl

from pyrovae.models.flow import Flow
from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.program import Program, plate_size
from pyrovae.networks import bounded_scale
from pyrovae.recurrent import going_on

__all__ = ["DeepMarkovModel", "GatedTransition", "Markov"]

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


class GatedTransition(nn.Module):
    """p(z_t | z_(t-1)) = Normal(z_t; (1 - g) * (W z + b) + g * m(z), scale(m(z))), z = z_(t-1), g = g(z) in (0, 1).

    A gate g per dimension chooses between a linear and a nonlinear step. W starts at the identity.

    Args:
        dim: D.
        hidden: units of the networks of g and m each.

    References: Krishnan et al. (2017), arXiv:1609.09869, section 5.
    """

    def __init__(self, dim: int, hidden: int = 200) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, 2 * hidden)
        self.gate, self.proposal = nn.Linear(hidden, dim), nn.Linear(hidden, dim)
        self.linear, self.raw_scale = nn.Linear(dim, dim), nn.Linear(dim, dim)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, z: Tensor) -> TorchDistribution:
        to_gate, to_proposal = torch.relu(self.hidden(z)).chunk(2, -1)
        gate, proposal = torch.sigmoid(self.gate(to_gate)), self.proposal(to_proposal)
        loc = torch.lerp(self.linear(z), proposal, gate)
        return Normal(loc, bounded_scale(self.raw_scale(torch.relu(proposal)))).to_event(1)


class DeepMarkovModel(Program):
    """p(x, z) = prod_t p(z_t | z_(t-1)) p(x_t | decoder(z_t)), z_0 learned.

    The latent is one site of event shape `(T, D)`; sequences of a batch may end at different steps.

    Args:
        transition: `transition(z_(t-1)) -> p(z_t | z_(t-1))`, such as `GatedTransition`.
        likelihood: `likelihood(params) -> p(x_t | params)`, of one step.
        decoder: a network `(*, D) -> (*, *likelihood.params_shape)`.
        dim: D.
        length: steps T of what is generated where nothing says how long a sequence is.

    Call it with a batch `x` of shape `(B, T, *event)` and `within` of shape `(B, T)`, bool, true up to the end of each
    sequence; all steps count where there is none. With `within` alone, or with `size`, it generates.

    Raises:
        ShapeError: in a call, x and within differ in their first two dimensions.

    References: Krishnan et al. (2017), arXiv:1609.09869.
    """

    def __init__(
        self, transition: nn.Module, likelihood: Likelihood, decoder: nn.Module, dim: int, length: int = 64
    ) -> None:
        super().__init__()
        self.transition, self.likelihood, self.decoder, self.length = transition, likelihood, decoder, length
        self.start = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor | None = None, within: Tensor | None = None, *, size: int | None = None) -> Tensor:
        batch = plate_size(x if within is None else within, size)
        within = going_on(x, within, (batch, self.length))
        with pyro.plate("data", batch, dim=-1):
            z = pyro.sample("z", Markov(self.transition, self.start, within))  # z ~ prod_t p(z_t | z_(t-1))
            steps = self.likelihood(self.decoder(z))
            return pyro.sample("x", steps.mask(within).to_event(1), obs=x)  # x ~ prod_t p(x_t | z_t)
