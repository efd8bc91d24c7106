"""Hamiltonian Monte Carlo on the latents of all data points at once, along a path from q(z | x) or p(z) to p(x, z).

The latents z of a data point are one unconstrained vector u, with z = T(u) (`evidence.vector`). For a temperature t
from 0 to 1, the density of the path is

    log pi_t(u) = (1 - t) log pi_0(z) + t log p(x, z) + log |dz/du|,    pi_0 = q(z | x) or p(z).
"""

from functools import partial
from typing import Literal, NamedTuple

import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.evidence.vector import LatentVector
from pyrovae.inference.pair.contract import Site, batch_size, call
from pyrovae.inference.pair.handlers import PutValues
from pyrovae.inference.pair.on_data import PairOnData, is_point
from pyrovae.inference.pair.scoring import run_pair, samples_plate, scores, summed_out, terms_of
from pyrovae.inference.pair.tracing import PairTrace, sites

__all__ = ["Path", "Point", "Start", "transition"]

Start = Literal["guide", "prior"]
"""The density pi_0 at temperature 0: q(z | x), or p(z)."""


class Point(NamedTuple):
    """The positions of the chains, and both ends of the path there.

    Attributes:
        u: the latents, `(C, B, K)`.
        log_start: log pi_0(z) + log |dz/du|, `(C, B)`.
        log_joint: log p(x, z) + log |dz/du|, `(C, B)`.
        start_slope: the gradient of `log_start` with respect to u, `(C, B, K)`.
        joint_slope: the gradient of `log_joint` with respect to u, `(C, B, K)`.
    """

    u: Tensor
    log_start: Tensor
    log_joint: Tensor
    start_slope: Tensor
    joint_slope: Tensor

    @property
    def log_ratio(self) -> Tensor:
        """log p(x, z) - log pi_0(z), the log-weight of a draw of pi_0."""
        return self.log_joint - self.log_start

    def log_density(self, temperature: Tensor | float) -> Tensor:
        """log pi_t(u), `(C, B)`, without its normalising constant.

        Args:
            temperature: t.
        """
        return self.log_start + temperature * self.log_ratio

    def slope(self, temperature: Tensor | float) -> Tensor:
        """The gradient of log pi_t(u), `(C, B, K)`.

        Args:
            temperature: t.
        """
        return self.start_slope + temperature * (self.joint_slope - self.start_slope)


class Path:
    """The path of one pair, and a leapfrog step along each of its densities.

    Latents that are marked for enumeration and that the guide leaves out are summed out of p(x, z) and p(z).

    Args:
        pair: the pair on its data.
        start: pi_0, the guide or the prior.
        compile: whether to replay one compiled graph per leapfrog step; the temperature is an input of it.

    Raises:
        PairError: there is no latent to move; a latent is drawn and discrete, or is outside the plate "data"; the path
            starts at a guide that has no density in the latents, because of a point mass or an auxiliary site.
    """

    def __init__(self, pair: PairOnData, start: Start, *, compile: bool = False) -> None:
        pair.require_independent()
        self.pair, self.start, self.depth = pair, start, pair.layout.depth
        both = pair.traces.latent().items()
        latents = {name: inner if start == "guide" else outer for name, (inner, outer) in both}
        _check_movable(latents, pair.traces, start)
        self.vector = LatentVector(latents, self.depth)
        self.leapfrog = Compiled(self._leapfrog, pair.model, pair.guide) if compile else self._leapfrog

    def draw(self, batch: Batch, num_chains: int) -> Tensor:
        """Draw from pi_0, `(C, B, K)`.

        Args:
            batch: named tensors of B data points, as the programs get them.
            num_chains: C, the draws of each data point.
        """
        program = self.pair.guide if self.start == "guide" else self.pair.model
        with samples_plate(num_chains, self.depth), poutine.trace() as tracer:
            call(program, batch, data_size=self.pair.size)
        return self.vector.pack(tracer.trace, num_chains)

    def find(self, batch: Batch, simulated: Trace) -> Tensor:
        """The latents that a run of the model drew, `(1, B, K)`.

        Args:
            batch: the B data points of that run.
            simulated: its trace.
        """
        with poutine.trace() as tracer, poutine.replay(trace=simulated):
            call(self.pair.guide, batch, data_size=self.pair.size)
        return self.vector.pack(tracer.trace if self.start == "guide" else simulated, 1)

    def point(self, u: Tensor, batch: Batch) -> Point:
        """Score the latents.

        Args:
            u: the latents, `(C, B, K)`.
            batch: named tensors of B data points, as the programs get them.
        """
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            ends = self._log_densities(u, batch)
            slopes = [_gradient(end, u) for end in ends]
        return Point(*(tensor.detach() for tensor in (u, *ends, *slopes)))

    def _log_densities(self, u: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """log pi_0(z) and log p(x, z), both with log |dz/du|."""
        size, shape, moved = self.pair.size, (len(u), batch_size(batch)), self.vector.at(u)
        run, put = partial(call, batch=batch, data_size=size), PutValues(moved.value_of)
        model = partial(run, self.pair.model)
        if self.start == "guide":
            pair = run_pair(model, partial(run, self.pair.guide), len(u), self.depth, in_guide=put)
            terms = terms_of(pair, shape, self.depth, size)
            return terms.log_guide + moved.log_det, terms.log_likelihood + terms.log_prior + moved.log_det
        pair = run_pair(model, lambda: None, len(u), self.depth, in_model=put)
        names = self.vector.names
        enumerated = [name for name in pair.undrawn() if name not in names]
        scored = summed_out(scores(pair.model, shape, self.depth, size), enumerated)
        log_joint = torch.stack(list(scored.values())).sum(0)
        return torch.stack([scored[name] for name in names]).sum(0) + moved.log_det, log_joint + moved.log_det

    def _leapfrog(
        self, point: Point, momentum: Tensor, step: Tensor, temperature: float, batch: Batch
    ) -> tuple[Point, Tensor]:
        momentum = momentum + step / 2 * point.slope(temperature)
        point = self.point(point.u + step * momentum, batch)
        return point, momentum + step / 2 * point.slope(temperature)


def transition(
    path: Path, point: Point, batch: Batch, temperature: float, step: Tensor, num_leapfrog: int
) -> tuple[Point, Tensor]:
    """Make one HMC transition of every chain, which leaves pi_t unchanged.

    Each chain draws a momentum, follows it for `num_leapfrog` steps, and accepts the end or stays (Metropolis). Its
    steps are stretched by a factor drawn from 0.8 to 1.2, because steps of one length may return to the start.

    Args:
        path: the path.
        point: the positions of the C chains.
        batch: named tensors of B data points, as the programs get them.
        temperature: t.
        step: the step of each data point times the scale of each number of u, `(B, K)`.
        num_leapfrog: how many steps to follow the momentum.

    Returns:
        The new point, and the acceptance rate, `(C, B)`.

    References: Neal (2011), arXiv:1206.1901.
    """
    start = torch.randn_like(point.u)
    step = step * (0.8 + 0.4 * torch.rand_like(point.u[..., :1]))
    end, momentum = point, start
    for _ in range(num_leapfrog):
        end, momentum = path.leapfrog(end, momentum, step, temperature, batch)
    log_odds = end.log_density(temperature) - point.log_density(temperature)
    log_odds = log_odds + (start.square().sum(-1) - momentum.square().sum(-1)) / 2
    rate = log_odds.clamp_max(0).exp().nan_to_num(0)  # a path that diverged is rejected
    accepted = torch.rand_like(rate) < rate
    moved = [torch.where(_like(accepted, new), new, old) for new, old in zip(end, point, strict=True)]
    return Point(*moved), rate


def _like(chosen: Tensor, tensor: Tensor) -> Tensor:
    """`chosen` of shape `(C, B)`, with the dimensions of the tensor."""
    return chosen if tensor.dim() == chosen.dim() else chosen.unsqueeze(-1)


def _gradient(log_density: Tensor, u: Tensor) -> Tensor:
    if not log_density.requires_grad:  # all of it is masked
        return torch.zeros_like(u)
    return torch.autograd.grad(log_density.sum(), u, retain_graph=True, allow_unused=True, materialize_grads=True)[0]


def _check_movable(latents: dict[str, Site], traces: PairTrace, start: Start) -> None:
    """Require a latent to move, and a density of the start."""
    if not latents:
        raise PairError(
            "annealing requires a latent that the guide draws, got none. Write evaluate(...), which is exact here."
        )
    for name, site in latents.items():
        if is_point(site):
            raise PairError(
                f"annealing requires a density at its start, got a point mass at site '{name}'. Start at the prior: "
                'Annealing(start="prior").'
            )
    auxiliary = [name for name in sites(traces.guide) if name not in latents]
    if auxiliary and start == "guide":
        raise PairError(
            "annealing from the guide requires its density in the latents alone, got the auxiliary site "
            f"'{auxiliary[0]}'. Start at the prior: Annealing(start=\"prior\")."
        )
