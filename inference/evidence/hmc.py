"""Hamiltonian Monte Carlo on the latents of all data at once, along a path from q(z | x) or p(z) to p(x, z).

The K numbers that make up the latents of one datum are one vector u without constraints: the value at a site is
z = T(u), where T is torch's bijection onto the support of the site. With a temperature t from 0 to 1, the path is

    log pi_t(u) = (1 - t) log pi_0(z) + t log p(x, z) + log |dz/du|,    pi_0 = q(z | x) or p(z).
"""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.distributions.util import sum_rightmost
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from torch import Tensor
from torch.distributions import biject_to

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call
from pyrovae.inference.pair.scoring import NOT_INDEPENDENT, layout, run_pair, scores, summed_out, terms_of
from pyrovae.inference.pair.tracing import PairTrace, innermost, sites, trace_pair

__all__ = ["Path", "Point", "Start", "transition"]

Start = Literal["guide", "prior"]


class Point(NamedTuple):
    """Where the chains are: u `(C, B, K)`, both ends of the path there, `(C, B)`, and their gradients `(C, B, K)`."""

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
        return self.log_start + temperature * self.log_ratio

    def slope(self, temperature: Tensor | float) -> Tensor:
        return self.start_slope + temperature * (self.joint_slope - self.start_slope)


class Path:
    """The path of one pair, and one leapfrog step along a density of it, compiled where asked for.

    Latents marked for enumeration that the guide leaves out are summed out of p(x, z), and of p(z).

    Args:
        batch: a few data, as the programs get them, from which the layout is read.
        start: pi_0, the guide or the prior.
        size: the number of all data.
        compile: replay one compiled graph per leapfrog step; the temperature is an input of it.

    Raises:
        PairError: no latent, a discrete one, one outside the plate "data"; starting at a guide that has no density in
            the latents: point masses, auxiliary sites.
    """

    def __init__(
        self, model: ProgramLike, guide: ProgramLike, batch: Batch, *, start: Start, size: int, compile: bool = False
    ) -> None:
        self.model, self.guide, self.start, self.size = model, guide, start, size
        pair = trace_pair(model, guide, batch, data_size=size)
        self.depth, has_global = layout(pair)
        if has_global:
            raise PairError(NOT_INDEPENDENT)
        latents = {name: inner if start == "guide" else outer for name, (inner, outer) in pair.latent().items()}
        _check_movable(latents, pair, start)
        self._blocks = list(_blocks(latents, self.depth))
        self.dim = self._blocks[-1].stop
        self.leapfrog = Compiled(self._leapfrog, model, guide) if compile else self._leapfrog

    def draw(self, batch: Batch, count: int) -> Tensor:
        """`count` draws of pi_0 for each datum, `(count, B, K)`."""
        program = self.guide if self.start == "guide" else self.model
        # The plate is there for a single draw too: of the model's latents none are replayed.
        with pyro.plate("samples", count, dim=-self.depth - 1), poutine.trace() as tracer:
            call(program, batch, data_size=self.size)
        return self._pack(tracer.trace, count)

    def find(self, batch: Batch, simulated: Trace) -> Tensor:
        """The u of the latents that a run of the model drew, one for each datum, `(1, B, K)`."""
        with poutine.trace() as tracer, poutine.replay(trace=simulated):
            call(self.guide, batch, data_size=self.size)
        return self._pack(tracer.trace if self.start == "guide" else simulated, 1)

    def _pack(self, trace: Trace, count: int) -> Tensor:
        return torch.cat([block.pack(sites(trace)[block.name], count) for block in self._blocks], -1)

    def point(self, u: Tensor, batch: Batch) -> Point:
        """Score the latents u `(C, B, K)`."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            ends = self._log_densities(u, batch)
            slopes = [_gradient(end, u) for end in ends]
        return Point(*(tensor.detach() for tensor in (u, *ends, *slopes)))

    def _log_densities(self, u: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        run = partial(call, batch=batch, data_size=self.size)
        given, shape = _Given(self._blocks, u), (len(u), batch_size(batch))
        if self.start == "guide":
            model, guide = partial(run, self.model), partial(run, self.guide)
            pair = run_pair(model, guide, len(u), self.depth, in_guide=given)
            terms = terms_of(pair, shape, self.depth, self.size)
            return terms.log_guide + given.log_det, terms.log_likelihood + terms.log_prior + given.log_det
        pair = run_pair(partial(run, self.model), lambda: None, len(u), self.depth, in_model=given)
        names = [block.name for block in self._blocks]
        enumerated = [name for name in pair.undrawn() if name not in names]
        scored = summed_out(scores(pair.model, shape, self.depth, self.size), enumerated)
        log_joint = torch.stack(list(scored.values())).sum(0)
        return torch.stack([scored[name] for name in names]).sum(0) + given.log_det, log_joint + given.log_det

    def _leapfrog(
        self, point: Point, momentum: Tensor, step: Tensor, temperature: float, batch: Batch
    ) -> tuple[Point, Tensor]:
        momentum = momentum + step / 2 * point.slope(temperature)
        point = self.point(point.u + step * momentum, batch)
        return point, momentum + step / 2 * point.slope(temperature)


def transition(
    path: Path, point: Point, batch: Batch, temperature: float, step: Tensor, num_leapfrog: int
) -> tuple[Point, Tensor]:
    """One HMC transition of every chain, which leaves pi_t as it is: the new point, and the acceptance rate `(C, B)`.

    Momenta are drawn anew, followed for `num_leapfrog` steps, and the end is accepted or not (Metropolis). Every
    chain's steps are stretched by a factor drawn from 0.8 to 1.2, lest paths close upon themselves.

    Args:
        step: step sizes, `(B, K)`: the step of the datum times the scale of each number of u.

    References: Neal (2011), arXiv:1206.1901.
    """
    start = torch.randn_like(point.u)
    step = step * (0.8 + 0.4 * torch.rand_like(point.u[..., :1]))
    end, momentum = point, start
    for _ in range(num_leapfrog):
        end, momentum = path.leapfrog(end, momentum, step, temperature, batch)
    log_odds = end.log_density(temperature) - point.log_density(temperature)
    log_odds = log_odds + (start.square().sum(-1) - momentum.square().sum(-1)) / 2
    rate = log_odds.clamp_max(0).exp().nan_to_num(0)  # a path that ran off to infinity is rejected
    accepted = torch.rand_like(rate) < rate
    moved = [torch.where(_beside(accepted, new), new, old) for new, old in zip(end, point, strict=True)]
    return Point(*moved), rate


def _beside(chosen: Tensor, tensor: Tensor) -> Tensor:
    return chosen if tensor.dim() == chosen.dim() else chosen.unsqueeze(-1)


def _gradient(log_density: Tensor, u: Tensor) -> Tensor:
    if not log_density.requires_grad:  # masked out
        return torch.zeros_like(u)
    return torch.autograd.grad(log_density.sum(), u, retain_graph=True, allow_unused=True, materialize_grads=True)[0]


# The latents as one vector --------------------------------------------------------------------------------------


class _Block(NamedTuple):
    """The numbers of u that one site has: `u[..., start:stop]`, of shape `(*plates, *event)` for one datum."""

    name: str
    plates: tuple[int, ...]  # left of the plate "data", down to the deepest of the pair
    event: tuple[int, ...]
    start: int
    stop: int
    dims: int  # of the site's own batch shape

    def pack(self, site: Site, count: int) -> Tensor:
        """`(count, B, K of the site)` from the value of a site, `(count, *plates, B, *event)`."""
        u = _transform(site).inv(site["value"])
        data = u.dim() - len(self.event) - 1
        rows = u.shape[data]
        u = u.reshape(count, *self.plates, rows, *self.event).movedim(1 + len(self.plates), 1)
        return u.reshape(count, rows, self.stop - self.start)

    def unpack(self, u: Tensor) -> Tensor:
        part = u[..., self.start : self.stop].reshape(*u.shape[:2], *self.plates, *self.event)
        return part.movedim(1, 1 + len(self.plates))


def _blocks(latents: dict[str, Site], depth: int) -> Iterable[_Block]:
    stop = 0
    for name, site in latents.items():
        shape = tuple(_transform(site).inv(site["value"]).shape)
        dims = len(site["fn"].batch_shape)
        plates, event = (1,) * (depth - dims) + shape[: dims - 1], shape[dims:]
        start, stop = stop, stop + math.prod(plates + event)
        yield _Block(name, plates, event, start, stop, dims)


def _transform(site: Site) -> Any:
    """The bijection from numbers without constraints onto the support of a site, which Hamiltonian dynamics need."""
    try:
        support = site["fn"].support
        if not support.is_discrete:
            return biject_to(support)
    except NotImplementedError as error:
        raise PairError(
            f"the distribution of site '{site['name']}', {type(innermost(site['fn'])).__name__}, has no support that "
            "torch.distributions.biject_to maps onto. Give it one: support = constraints.real_vector, say."
        ) from error
    raise PairError(
        f"site '{site['name']}' is discrete and drawn: Hamiltonian dynamics cannot move it. Sum it out: leave it out "
        f'of the guide, and write pyro.sample(\'{site["name"]}\', ..., infer={{"enumerate": "parallel"}}) in the model.'
    )


class _Given(Messenger):
    """Puts T(u) at each site in place of a draw, and adds up log |dz/du|, `(C, B)`."""

    def __init__(self, blocks: list[_Block], u: Tensor) -> None:
        super().__init__()
        self.blocks, self.u = {block.name: block for block in blocks}, u
        self.log_det = torch.zeros_like(u[..., 0])

    def _pyro_sample(self, msg: Site) -> None:
        block = self.blocks.get(msg["name"])
        if block is None:
            return
        transform, u = _transform(msg), block.unpack(self.u)
        value = transform(u)
        batch = 2 + len(block.plates)
        log_det = sum_rightmost(transform.log_abs_det_jacobian(u, value), -batch)
        self.log_det = self.log_det + log_det.reshape(len(u), -1, log_det.shape[-1]).sum(1)
        if len(u) == 1:  # one draw has no plate of samples: its value has the shape that the program alone gives it
            value = value.reshape(value.shape[value.dim() - block.dims - len(msg["fn"].event_shape) :])
        msg["value"], msg["done"] = value, True


def _check_movable(latents: dict[str, Site], pair: PairTrace, start: Start) -> None:
    """There is something to move, and a density of the start."""
    if not latents:
        raise PairError("the guide draws no latent, so there is nothing to anneal. evaluate(...) is exact here.")
    for name, site in latents.items():
        if isinstance(innermost(site["fn"]), Delta):
            raise PairError(
                f"site '{name}' of the guide is a point mass, which has no density to start at. Start at the prior: "
                'start="prior".'
            )
    auxiliary = [name for name in sites(pair.guide) if name not in latents]
    if auxiliary and start == "guide":
        raise PairError(
            f"site '{auxiliary[0]}' of the guide is auxiliary, so the guide's density in the latents alone is not "
            'known. Start at the prior: start="prior".'
        )
