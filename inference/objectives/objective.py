"""What every objective shares: the draws of a pair, the true ELBO beside the loss, and the counter of steps."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike, Site
from pyrovae.inference.pair.scoring import Layout, Terms, is_global, layout, run_pair, terms_of
from pyrovae.inference.pair.tracing import PairTrace, sites, traces, unscaled_log_prob

__all__ = ["Draws", "Objective", "Tracked"]


class Draws(NamedTuple):
    """S draws of a pair for each of B data, and their scores.

    Attributes:
        pair: the traces.
        terms: log-probabilities, `(S, B)`, unscaled.
        full_size: the number of all data, of which the batch is a sample.
        free: a run of the model alone, where an objective asks for one.
    """

    pair: PairTrace
    terms: Terms
    full_size: int
    free: Trace | None = None

    @property
    def shape(self) -> tuple[int, int]:
        samples, batch = self.terms.log_likelihood.shape
        return samples, batch


class Tracked(nn.Module):
    """A loss that tells, beside itself, the ELBO of the draws that it was computed on."""

    tracked: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("tracked", torch.zeros(2), persistent=False)

    @torch.no_grad()
    def track(self, total: Tensor, count: int) -> None:
        """Add the sum of the ELBOs of so many data."""
        if self.tracked.device != total.device:
            self.to(total.device)
        self.tracked.add_(torch.stack([total, torch.full_like(total, count)]).to(self.tracked))

    @torch.no_grad()
    def collect(self) -> tuple[float, float]:
        """Sum of the ELBOs, and number, of the data seen in training steps since this was last called."""
        total, count = self.tracked.tolist()
        self.tracked.zero_()
        return total, count


class Objective(Tracked, ABC):
    """What training maximises, of any pair: `bound`, one number for each datum, in nats.

    The loss is minus its sum over the batch, scaled to all data where the pair subsamples its plate, as Pyro's ELBOs
    have it; so an objective goes where those go, `SVI(model, guide, optim, objective)` and `fit(..., loss=objective)`.
    Log-weights are formed per datum and unscaled, and scaled last: Pyro's RenyiELBO scales inside the log-sum-exp,
    which gives another number. KL weights and the like change the loss alone, never the tracked ELBO.

    An objective belongs to one pair: it learns the layout of the plates from the first run. It is a module for the
    sake of its buffer `step`, which schedules read.

    Args:
        num_particles: draws per datum S, vectorised.

    Raises:
        PairError: fewer than one particle; at the first run, a pair that the objective cannot train.
    """

    reparameterised = True
    independent = False  # whether all latents must lie in the plate "data"
    step: Tensor

    def __init__(self, num_particles: int = 1) -> None:
        super().__init__()
        if num_particles < 1:
            raise PairError(f"{type(self).__name__} wants num_particles >= 1, got {num_particles}.")
        self.num_particles = num_particles
        self.layout: Layout | None = None
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def bound(self, draws: Draws) -> Tensor:
        """What is maximised, `(B,)`, in nats per datum."""

    # What SVI calls ---------------------------------------------------------------------------------------------

    def differentiable_loss(self, model: ProgramLike, guide: ProgramLike, *args: Any, **kwargs: Any) -> Tensor:
        """The loss of a training step, a scalar; the ELBO of its draws is added to what is tracked."""
        draws, loss = self._evaluate(model, guide, args, kwargs)
        with torch.no_grad():
            elbo = self.elbo(draws)
            self.track(elbo.sum(), len(elbo))
        return loss

    def loss(self, model: ProgramLike, guide: ProgramLike, *args: Any, **kwargs: Any) -> Tensor:
        """The loss, a scalar; nothing is tracked."""
        return self._evaluate(model, guide, args, kwargs)[1]

    @torch.no_grad()
    def advance(self) -> None:
        """Count a step."""
        self.step.add_(1)

    def elbo(self, draws: Draws) -> Tensor:
        """The ELBO of each datum by these draws, `(B,)`: no weight, no schedule."""
        return draws.terms.log_weight.mean(0)

    # How the draws are made -------------------------------------------------------------------------------------

    def _evaluate(
        self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[Draws, Tensor]:
        programs = partial(model, *args, **kwargs), partial(guide, *args, **kwargs)
        if self.layout is None:
            self._learn_layout(*programs)
        draws = self.draw(*programs)
        bound = self.bound(draws)
        return draws, -bound.sum() * (draws.full_size / len(bound))

    def draw(self, model: Callable[[], Any], guide: Callable[[], Any], **handlers: Any) -> Draws:
        """Run the pair, and score the draws."""
        pair = run_pair(model, guide, self.num_particles, self._depth, **handlers)
        size, full_size = data_plate(pair)
        return Draws(pair, terms_of(pair, (self.num_particles, size), self._depth, full_size), full_size)

    @property
    def _depth(self) -> int:
        return self.layout.depth if self.layout else 1

    def _learn_layout(self, model: Callable[[], Any], guide: Callable[[], Any]) -> None:
        with torch.enable_grad():
            pair = traces(model, guide)
            found = layout(pair)
            self.check(pair, found)
        for site in pair.observed().values():
            self.to(site["value"].device)
        self.layout = found

    def check(self, pair: PairTrace, layout: Layout) -> None:
        """Refuse a pair that this objective cannot train; called once.

        Raises:
            PairError: with the site, and what to use instead.
        """
        size, full_size = data_plate(pair)
        for trace in pair:
            for site in sites(trace).values():
                _check_scale(site, full_size / size)
        if self.independent and layout.has_global:
            name = next(n for n, (_, site) in pair.latent().items() if is_global(site))
            raise PairError(
                f"{type(self).__name__} weighs each datum by itself, and site '{name}' is one for all data. Use ELBO()."
            )
        for name, site in sites(pair.guide).items():
            if self.reparameterised and not site["fn"].has_rsample and unscaled_log_prob(site).requires_grad:
                raise PairError(
                    f"{type(self).__name__} wants draws that are differentiable, and the guide's site '{name}' draws "
                    f"from {type(site['fn']).__name__}. Train with WakeSleep(num_particles=10) or "
                    "pyro.infer.TraceGraph_ELBO(); or leave the site out of the guide and mark it in the model with "
                    'infer={"enumerate": "parallel"}, to sum it out.'
                )


def data_plate(pair: PairTrace) -> tuple[int, int]:
    """Size of the plate "data", and of all data, of which it may be a sample.

    Raises:
        PairError: there is no such plate at dim -1.
    """
    for trace in reversed(pair):
        for site in sites(trace).values():
            for frame in site["cond_indep_stack"]:
                if frame.name == "data" and frame.dim == -1:
                    return frame.size, frame.full_size or frame.size
    raise PairError(
        'an objective weighs each datum, and no site is in the plate "data". Write '
        'with pyro.plate("data", len(x), dim=-1): around the sites of a datum, in model and guide.'
    )


def _check_scale(site: Site, minibatch: float) -> None:
    """A site carries no scale but that of the minibatch: an objective scales by itself."""
    scale = site["scale"]
    wanted = minibatch if any(frame.name == "data" for frame in site["cond_indep_stack"]) else 1.0
    if isinstance(scale, Tensor) or not math.isclose(scale, wanted, rel_tol=1e-6):
        raise PairError(
            f"site '{site['name']}' carries a scale of {scale} (poutine.scale, or an inner plate that is subsampled), "
            "which an objective would leave out. Weigh with ELBO(kl_weight=...), or train with pyro.infer.Trace_ELBO()."
        )
