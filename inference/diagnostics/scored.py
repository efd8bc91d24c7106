"""log p and log q of given latents, and what the guide says about each data point: shared by tests on simulations."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.pair.contract import Site, batch_size, call
from pyrovae.inference.pair.handlers import ChangeDraws
from pyrovae.inference.pair.on_data import PairOnData, is_point
from pyrovae.inference.pair.running import chunk_sizes
from pyrovae.inference.pair.scoring import run_pair, scores, summed_out
from pyrovae.inference.pair.tracing import sites
from pyrovae.numeric import wide

__all__ = [
    "SCORED",
    "check_scores",
    "columns_like",
    "drawn_sites",
    "log_joint",
    "log_q_absent",
    "log_q_drawn",
    "log_q_of",
    "picked",
    "portions_of",
]

SCORED = 19
"""How many draws of a data point the model scores; the ranks among them have twenty values."""


def check_scores(what: str, result: Any, values: Mapping[str, Tensor], instead: str) -> Tensor:
    """What a function of the user gives for each draw and data point, `(S, B)`.

    Args:
        what: the function, for the error.
        result: what it gave.
        values: what it was given, `(S, B, ...)` by name.
        instead: the line to write, for the error.

    Raises:
        ShapeError: it is no tensor `(S, B)`.
    """
    shape = tuple(next(iter(values.values())).shape[:2])
    if not isinstance(result, Tensor) or tuple(result.shape) != shape:
        got = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise ShapeError(f"{what} requires a result (S, B) = {shape}, got {got}. {instead}")
    return result


def drawn_sites(pair: PairOnData, drawn: Trace) -> dict[str, Site]:
    """The latent sites of a run of the guide, by name, in the order of the model.

    Args:
        pair: the pair on its data.
        drawn: a run of the guide.
    """
    found = sites(drawn)
    return {name: found[name] for name in pair.traces.latent()}


def columns_like(like: Mapping[str, Tensor], found: Mapping[str, Tensor], what: str) -> Tensor:
    """The columns of latents by name, in the order of other latents that have the same names, float64 `(*, D)`.

    Args:
        like: latents of simulated data, `(*, D)` by latent site.
        found: latents of the data.
        what: the caller, for the error.

    Raises:
        PairError: a latent is missing in one of them, or has another width.
    """
    theirs, ours = ({name: value.shape[-1] for name, value in part.items()} for part in (like, found))
    if theirs != ours:
        raise PairError(
            f"{what} requires the latents of simulated data, {theirs}, got {ours}: a latent is simulated as given. "
            "Pass its values with the data."
        )
    return torch.cat([found[name] for name in like], -1).double().cpu()


def picked(found: dict[str, Site], rows: slice, count: int) -> dict[str, Tensor]:
    """The values of latents at some data points, `(count, *inner plates, B, *event)`, or without `count` if it is 0.

    Args:
        found: sites of a run, by name.
        rows: which data points of the run.
        count: how many draws, the first ones; 0 for a run of one draw, which has no dimension of draws.
    """
    values = {}
    for name, site in found.items():
        value: Tensor = site["value"][:count] if count else site["value"]
        dim = value.dim() - site["fn"].event_dim - 1
        values[name] = value.narrow(dim, rows.start, rows.stop - rows.start)
    return values


def log_joint(pair: PairOnData, batch: Batch, values: dict[str, Tensor], count: int) -> Tensor:
    """log p(x, z) of given latents, `(count, B)`, float64.

    Args:
        pair: the pair on its data.
        batch: named tensors, already transformed.
        values: those of all latents of the guide, of `count` draws.
        count: the number of draws.
    """
    run = partial(call, batch=batch, data_size=pair.size)
    put = ChangeDraws(_putting(values))
    scored = run_pair(partial(run, pair.model), partial(run, pair.guide), count, pair.layout.depth, in_guide=put)
    shape = count, batch_size(batch)
    parts = summed_out(scores(scored.model, shape, pair.layout.depth, pair.size), scored.undrawn())
    return torch.stack([wide(part) for part in parts.values()]).sum(0)


def log_q_of(pair: PairOnData, batch: Batch, values: dict[str, Tensor]) -> Tensor:
    """log q(z | x) of one value of the latents at each data point, `(1, B)`, float64.

    Args:
        pair: the pair on its data.
        batch: named tensors, already transformed.
        values: those of all latents of the guide.
    """
    guide = partial(call, pair.guide, batch, data_size=pair.size)
    scored = run_pair(lambda: None, guide, 1, pair.layout.depth, in_guide=ChangeDraws(_putting(values)))
    return log_q_drawn(pair, scored.guide, (1, batch_size(batch)))


def log_q_drawn(pair: PairOnData, drawn: Trace, shape: tuple[int, int]) -> Tensor:
    """log q(z | x) of the values in a run of the guide, `(S, B)`, float64.

    Args:
        pair: the pair on its data.
        drawn: the run.
        shape: `(S, B)`.
    """
    return torch.stack([wide(part) for part in scores(drawn, shape, pair.layout.depth, pair.size).values()]).sum(0)


def _putting(values: dict[str, Tensor]) -> Callable[[Site], Tensor]:
    def change(site: Site) -> Tensor:
        drawn: Tensor = site["value"]
        return values[site["name"]].reshape(drawn.shape) if site["name"] in values else drawn

    return change


def log_q_absent(pair: PairOnData) -> str:
    """Why log q(z | x) of a value that the guide did not draw is not known; empty if it is.

    Args:
        pair: the pair on its data.
    """
    latent = pair.traces.latent()
    auxiliary = set(sites(pair.traces.guide)) - set(latent)
    if auxiliary:
        return f"the guide's auxiliary draw '{min(auxiliary)}' leaves q(z | x) without a closed form"
    points = [name for name, (inner, _) in latent.items() if is_point(inner)]
    if points:
        return f"a point mass at '{points[0]}' has no density"
    try:
        one = picked(drawn_sites(pair, pair.traces.guide), slice(0, batch_size(pair.first)), 0)
        log_q_of(pair, pair.first, {name: value.clone() for name, value in one.items()})
    except (NotImplementedError, KeyError) as error:
        return f"the guide's density cannot be computed at a given value: {type(error).__name__} {error}"
    return ""


def portions_of(pair: PairOnData, size: int) -> Iterator[slice]:
    """The rows of a batch in portions for which the model can score `SCORED` draws in the memory of the pair.

    Args:
        pair: the pair on its data.
        size: the number of rows.
    """
    rows, _ = chunk_sizes(pair.first, SCORED, pair.memory)
    for start in range(0, size, rows):
        yield slice(start, min(start + rows, size))
