"""What every objective shares: its particles, the true ELBO next to the loss, and the counter of steps."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn

from pyrovae.checks import check_count
from pyrovae.inference.objectives.particles import Drawing, Particles, data_plate, draw_particles, sampled_elbo
from pyrovae.inference.objectives.requirements import (
    Requirement,
    check_independent,
    check_reparameterised,
    check_scales,
)
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.scoring import Layout, layout
from pyrovae.inference.pair.together import check_draws
from pyrovae.inference.pair.tracing import PairTrace, traces
from pyrovae.numeric import has_values

__all__ = ["Objective", "Tracked"]


class Tracked(nn.Module):
    """A loss that also records the ELBO of the particles that it was computed on.

    Attributes:
        tracked: the sum of the ELBOs, and the number of data points, since the last `collect`.
    """

    tracked: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("tracked", torch.zeros(2), persistent=False)

    @torch.no_grad()
    def track(self, total: Tensor, count: int) -> None:
        """Record the ELBOs of some data points.

        Args:
            total: their sum, a scalar, in nats.
            count: the number of data points.
        """
        if self.tracked.device != total.device:
            self.to(total.device)
        self.tracked.add_(torch.stack([total, torch.full_like(total, count)]).to(self.tracked))

    @torch.no_grad()
    def collect(self) -> tuple[float, float]:
        """The sum of the ELBOs, and the number of data points, of all training steps since the last call."""
        total, count = self.tracked.tolist()
        self.tracked.zero_()
        return total, count


class Objective(Tracked, ABC):
    """What training maximises, for any pair: `bound`, one number for each data point, in nats.

    The loss is minus the sum of the bounds over the batch, scaled to all data where the pair subsamples its plate, as
    the loss of Pyro's ELBOs is. So an objective can stand wherever those can: `SVI(model, guide, optim, objective)` and
    `fit(..., loss=objective)`. Log-weights are formed for each data point and unscaled, and scaled last. Pyro's
    RenyiELBO scales inside the log-sum-exp, which gives another number. KL weights and the like change the loss alone,
    never the tracked ELBO.

    A subclass defines `bound`. Everything else in which objectives differ is passed to this constructor.

    An objective belongs to one pair, because it learns the layout of the plates from the first run. It is a module so
    that checkpoints and compiled steps have its buffer `step`, the number of steps taken, which schedules read.

    Args:
        num_particles: S, draws per data point, vectorised.
        independent: whether all latents must be in the plate "data".
        reparameterised: whether the guide's draws must be differentiable.
        draw: how the particles are drawn.
        elbo: from the particles to the ELBO of each data point, `(B,)`: no weight, no schedule.
        requirements: further checks of a pair, run once.
        couples: in what way the bound of a data point depends on the others of its batch, as the end of a sentence; ""
            where it does not. Several processes train no such objective.

    Attributes:
        step: the number of steps taken, a 0-dim tensor.
        layout: that of the pair's plates; None before the first run.

    Raises:
        SettingError: fewer than one particle.
        PairError: at the first run, a pair that the objective cannot train, or one that scores several particles
            together in another way than one by one.
    """

    step: Tensor

    def __init__(
        self,
        num_particles: int = 1,
        *,
        independent: bool = False,
        reparameterised: bool = True,
        draw: Drawing = draw_particles,
        elbo: Callable[[Particles], Tensor] = sampled_elbo,
        requirements: Sequence[Requirement] = (),
        couples: str = "",
    ) -> None:
        super().__init__()
        self.num_particles = check_count("num_particles", num_particles, write=1)
        self.independent, self.reparameterised = independent, reparameterised
        self.layout: Layout | None = None
        self.couples = couples
        self._draw, self._elbo, self._requirements = draw, elbo, tuple(requirements)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def bound(self, particles: Particles) -> Tensor:
        """What is maximised, `(B,)`, in nats per data point.

        Args:
            particles: S draws for each data point, and their scores.
        """

    @final
    def differentiable_loss(self, model: ProgramLike, guide: ProgramLike, *args: Any, **kwargs: Any) -> Tensor:
        """The loss of a training step, a scalar; the ELBO of its particles is tracked.

        Args:
            model, guide: the pair.
            args, kwargs: the arguments of both programs.
        """
        particles, loss = self._evaluate(model, guide, args, kwargs)
        with torch.no_grad():
            elbo = self.elbo(particles)
            self.track(elbo.sum(), len(elbo))
        return loss

    @final
    def loss(self, model: ProgramLike, guide: ProgramLike, *args: Any, **kwargs: Any) -> Tensor:
        """The loss, a scalar; nothing is tracked.

        Args:
            model, guide: the pair.
            args, kwargs: the arguments of both programs.
        """
        return self._evaluate(model, guide, args, kwargs)[1]

    @final
    @torch.no_grad()
    def advance(self) -> None:
        """Count a step."""
        self.step.add_(1)

    @final
    def elbo(self, particles: Particles) -> Tensor:
        """The ELBO of each data point, `(B,)`, by these particles, without weights and schedules.

        Args:
            particles: S draws for each data point, and their scores.
        """
        return self._elbo(particles)

    @final
    def draw(self, model: Callable[[], Any], guide: Callable[[], Any]) -> Particles:
        """Run the pair, and score the draws.

        Args:
            model, guide: the programs, with their arguments bound.
        """
        return self._draw(model, guide, self.num_particles, self.layout.depth if self.layout else 1)

    @final
    def check(self, pair: PairTrace, layout: Layout) -> None:
        """Refuse a pair that this objective cannot train; called once.

        Args:
            pair: a run of both programs.
            layout: its layout.

        Raises:
            PairError: the pair breaks a requirement; the message names the site, and what to use instead.
        """
        what = type(self).__name__
        check_scales(pair)
        if self.independent:
            check_independent(what, pair, layout)
        if self.reparameterised:
            check_reparameterised(what, pair)
        for requirement in self._requirements:
            requirement(pair, layout)

    def _evaluate(
        self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[Particles, Tensor]:
        programs = partial(model, *args, **kwargs), partial(guide, *args, **kwargs)
        if self.layout is None:
            self._learn_layout(*programs, owners=(model, guide))
        particles = self.draw(*programs)
        bound = self.bound(particles)
        return particles, -bound.sum() * (particles.full_size / len(bound))

    def _learn_layout(
        self, model: Callable[[], Any], guide: Callable[[], Any], owners: tuple[ProgramLike, ProgramLike]
    ) -> None:
        with torch.enable_grad():
            pair = traces(model, guide)
            found = layout(pair)
            self.check(pair, found)
        if self.num_particles > 1 and all(has_values(site["value"]) for site in pair.observed().values()):
            check_draws(model, guide, owners, data_plate(pair)[0], found.depth)
        for site in pair.observed().values():
            self.to(site["value"].device)
        self.layout = found
