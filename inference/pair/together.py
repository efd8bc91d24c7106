"""Whether a pair scores draws together as it scores them one by one, and data points together as one by one.

Every estimate with several draws runs a program once, with a further dimension left of its own. A program that reads
dimensions from the left, such as a layer that takes dimension 1 for channels, then computes another density.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from pyro.distributions import Delta
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.distributions import constraints

from pyrovae.data import Batch
from pyrovae.errors import PairError, PyrovaeError, ShapeError
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call, modules
from pyrovae.inference.pair.handlers import PutValues
from pyrovae.inference.pair.running import device_of, evaluating
from pyrovae.inference.pair.scoring import Layout, run_pair, scores, spread
from pyrovae.inference.pair.tracing import PairTrace, innermost, sites, unscaled_log_prob

__all__ = ["check_draws", "check_together", "fitting_rows"]

DRAWS = 2
ABSOLUTE, RELATIVE = 1e-3, 2e-5
"""Nats, and share of a log-probability, by which rounding may change it."""
SHARE = 0.01
"""The share of the difference between two draws by which scoring them together may change a log-probability."""
STEPS, FACTOR = 16, 30
"""Machine epsilons by which latents are moved to see what rounding does to a log-probability, and how much more is an
error: a latent of a deep hierarchy, of a scale of 0.001, makes whole nats of the last digit of a network's output.
"""
WIDEST = 1024
"""The widest layer for which a batch as wide is built."""
MEND = (
    "Count dimensions from the right (dim=-1, not dim=1; z.flatten(-2), not z.view(len(z), -1)), and flatten the "
    "leading dimensions around a layer that reads dimension 1 as channels, such as BatchNorm: "
    "h = net(z.flatten(0, -2)).unflatten(0, z.shape[:-1])."
)


def check_together(model: ProgramLike, guide: ProgramLike, batch: Batch, layout: Layout, **extra: Any) -> None:
    """Compare log-probabilities of two draws together with those of a draw alone, and of rows with those of a row.

    The programs run in evaluation mode. The random state is unchanged afterwards.

    Args:
        model, guide: the pair.
        batch: named tensors, already transformed; a few rows suffice.
        layout: the plates of the pair.
        extra: further arguments of the programs, as in `call`.

    Raises:
        PairError: a site has another log-probability, or a program fails, where two draws are scored together; or a
            data point has another log-probability where it is the only one. The message names the site.
    """
    try:
        _compare(model, guide, batch, layout, extra)
    except _FailsError as failure:
        raise PairError(str(failure)) from failure.__cause__


def _compare(model: ProgramLike, guide: ProgramLike, batch: Batch, layout: Layout, extra: dict[str, Any]) -> None:
    size, run = batch_size(batch), partial(call, batch=batch, **extra)
    with _aside(model, guide):
        pair = _compare_draws(partial(run, model), partial(run, guide), size, layout.depth)
        if not layout.has_global and size > 1:
            same = {name: tensor[-1:].expand(tensor.shape).clone() for name, tensor in batch.items()}
            run = partial(call, batch=same, **extra)
            _compare_row(partial(run, model), partial(run, guide), pair, size, layout.depth)


def check_draws(model: Callable[[], Any], guide: Callable[[], Any], owners: Any, size: int, depth: int) -> None:
    """Compare log-probabilities of two draws together with those of a draw alone.

    Args:
        model, guide: the programs, with their arguments bound.
        owners: the programs without arguments, whose modules are put into evaluation mode meanwhile.
        size: B.
        depth: how many dimensions the plates of the pair take.

    Raises:
        PairError: as in `check_together`.
    """
    try:
        with _aside(*owners):
            _compare_draws(model, guide, size, depth)
    except _FailsError as failure:
        raise PairError(str(failure)) from failure.__cause__


def fitting_rows(*programs: ProgramLike, size: int) -> int:
    """How many rows show that a layer reads dimension 1 as channels: at least 2, and not as many as any layer is wide.

    Args:
        programs: models and guides.
        size: the number of rows there are.
    """
    tensors = [t for module in modules(*programs) for t in (*module.parameters(), *module.buffers())]
    widths, channels = {len(tensor) for tensor in tensors if tensor.dim() == 1}, _channels(*programs)
    for avoided in (widths, channels):
        fitting = next((rows for rows in range(2, size + 1) if rows not in avoided), None)
        if fitting:
            return fitting
    return min(size, 2)


def _channels(*programs: ProgramLike) -> list[int]:
    """The numbers of channels of the pair's layers."""
    layers: list[nn.Module] = [m for module in modules(*programs) for m in module.modules()]
    found = {getattr(layer, name, None) for layer in layers for name in ("num_features", "num_channels", "in_channels")}
    return sorted(width for width in found if isinstance(width, int) and 1 < width <= WIDEST)


class _FailsError(Exception):
    """A program fails where two draws are scored together."""


@contextmanager
def _aside(*programs: ProgramLike) -> Iterator[None]:
    """In evaluation mode, and without a trace in the random state."""
    device = device_of(*programs)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), evaluating(*programs):
        yield


class _Last(Messenger):
    """Remembers the last site that ran, and whether all have."""

    where, ended = "before its first site", False

    def _pyro_post_sample(self, msg: Site) -> None:
        if not site_is_subsample(msg):
            self.where = f"after site '{msg['name']}'"


def _compare_draws(model: Callable[[], Any], guide: Callable[[], Any], size: int, depth: int) -> PairTrace:
    """Compare, and return the run of the last draw alone."""
    shape, last = (DRAWS, size), _Last()
    try:
        with last:
            together = run_pair(model, guide, DRAWS, depth)
        last.ended = True
        scored = [scores(trace, shape, depth, None) for trace in together]
    except Exception as error:
        # A network's ShapeError knows nothing of draws; that of the scores says all.
        if isinstance(error, PyrovaeError) and (last.ended or not isinstance(error, ShapeError)):
            raise
        raise _FailsError(
            f"A pair requires programs that run with {DRAWS} draws, a dimension left of all others, got an error "
            f"{last.where}: {str(error).rstrip('.')}. {MEND} Single draws work: num_samples=1, num_particles=1."
        ) from error
    drawn = sites(together.guide)

    def alone(steps: int = 0) -> PairTrace:
        put = PutValues(lambda site: _moved(_draw(drawn, site, depth), site, steps))
        return run_pair(model, guide, 1, depth, in_guide=put)

    pair = alone()
    for program, trace, parts in zip(("guide", "model"), pair, scored, strict=True):
        for name, score in parts.items():
            right = _score(trace, name, (1, size), depth)
            if right is not None and _differ(score[..., -1, :], right[..., 0, :], score[..., 0, :]):
                _require_repeatable(alone, program, name, right, (1, size), depth)
                moved = _score(getattr(alone(STEPS), program), name, (1, size), depth)
                if moved is not None and _is_rounding(score[..., -1, :] - right[..., 0, :], moved - right):
                    continue
                raise PairError(
                    f"A pair requires a log-probability that does not depend on the other draws, got "
                    f"{_total(score[..., -1, :])} nats at site '{name}' of the {program} for {size} data points where "
                    f"{DRAWS} draws are scored together, and {_total(right)} where the same draw is alone. {MEND} Give "
                    "an inner plate a size that does not depend on the draws."
                )
    return pair


def _compare_row(model: Callable[[], Any], guide: Callable[[], Any], pair: PairTrace, size: int, depth: int) -> None:
    """Compare the last data point of a batch with itself among copies of itself."""
    drawn, shape = sites(pair.guide), (1, size)

    def run(steps: int = 0) -> PairTrace:
        put = PutValues(lambda site: _moved(_copied(drawn, site), site, steps))
        return run_pair(model, guide, 1, depth, in_guide=put)

    copies = run()
    for program, trace, whole in zip(("guide", "model"), copies, pair, strict=True):
        for name in sites(trace):
            got, right = _score(whole, name, shape, depth), _score(trace, name, shape, depth)
            if got is None or right is None or not _differ(got[..., -1:], right[..., -1:], got[..., :1]):
                continue
            moved = _score(getattr(run(STEPS), program), name, shape, depth)
            if moved is not None and _is_rounding(got[..., -1] - right[..., -1], moved - right):
                continue
            raise PairError(
                f"A pair requires data points that are scored independently, got {_total(got[..., -1])} nats at site "
                f"'{name}' of the {program} for a data point next to others, and {_total(right[..., -1])} for the same "
                "data point and latents next to copies of it. A layer mixes the rows of the batch: let it work along "
                "the dimensions of one data point."
            )


def _require_repeatable(
    alone: Callable[[], PairTrace], program: str, name: str, right: Tensor, shape: tuple[int, int], depth: int
) -> None:
    """A program that draws numbers outside its sites differs from itself: the cause is named."""
    again = _score(getattr(alone(), program), name, shape, depth)
    if again is None or _differ(again, right, again):
        raise PairError(
            f"A pair requires random numbers that are drawn at sites, got a log-probability at site '{name}' of the "
            f"{program} that changes from run to run with the same draws. Write pyro.sample for each random number."
        )


def _draw(drawn: dict[str, Site], site: Site, depth: int) -> Tensor | None:
    """The last draw of a site, in the shape that it has alone."""
    if site["name"] not in drawn:
        return None
    value = drawn[site["name"]]["value"]
    left = -site["fn"].event_dim - depth - 1
    if value.dim() >= -left and value.shape[left] == DRAWS:
        value = value.select(left, -1)
    return _shaped(value, site)


def _copied(drawn: dict[str, Site], site: Site) -> Tensor | None:
    """The value of a site, with all data points as the last one."""
    if site["name"] not in drawn:
        return None
    value: Tensor = drawn[site["name"]]["value"]
    dim = -site["fn"].event_dim - 1
    return value.narrow(dim, value.shape[dim] - 1, 1).expand(value.shape)


def _moved(value: Tensor | None, site: Site, steps: int) -> Tensor | None:
    """A draw, moved by that many machine epsilons of its size where it may be any number."""
    if value is None or not steps:
        return value
    support = getattr(site["fn"].support, "base_constraint", site["fn"].support)
    if support not in (constraints.real, constraints.real_vector):
        return value
    return value * (1 + steps * torch.finfo(value.dtype).eps)


def _shaped(value: Tensor, site: Site) -> Tensor:
    shape = site["fn"].batch_shape + site["fn"].event_shape
    if value.numel() != shape.numel():
        raise PairError(
            f"A pair requires plates and events of one size, got {tuple(value.shape)} at site '{site['name']}' where "
            f"{DRAWS} draws run together, and {tuple(shape)} where one runs alone. {MEND}"
        )
    return value.reshape(shape)


def _score(trace: Any, name: str, shape: tuple[int, int], depth: int) -> Tensor | None:
    """A site's log-probability, `(*enumerated, S, B)`; None where a value that was not drawn just now has none."""
    site = sites(trace)[name]
    if isinstance(innermost(site["fn"]), Delta):  # rounding moves the point away from the value
        return None
    try:
        return spread(unscaled_log_prob(site), site, shape, depth, None)
    except (NotImplementedError, KeyError):  # a flow without an inverse
        return None


def _differ(got: Tensor, right: Tensor, other: Tensor) -> bool:
    """Whether a score differs from the right one by more than rounding; `other` is the score of another draw."""
    if got.shape != right.shape:
        got, right, other = torch.broadcast_tensors(got, right, other)
    size = right.abs().nan_to_num(0.0, 0.0)
    apart = (other - right).abs().nan_to_num(0.0, 0.0).amax()
    off = (got - right).abs()
    off = torch.where(got.isfinite() | right.isfinite(), off.nan_to_num(torch.inf), 0.0)
    return bool((off > ABSOLUTE + RELATIVE * size + SHARE * apart).any())


def _is_rounding(off: Tensor, noise: Tensor) -> bool:
    """Whether a score is `off` by rounding alone; `noise` is what it changes by where the draws are moved a little."""
    return bool((off.abs() <= FACTOR * noise.abs().amax()).all())


def _total(score: Tensor) -> str:
    return f"{score.sum().item():.6g}"
