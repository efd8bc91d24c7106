"""Draws at the edge of a bounded support, where a number format ends before the distribution does.

A Gamma of concentration 0.02 has a sixth of its mass below 1.2e-38, the smallest number of float32. Such draws are
set to that number, and the means of their log-probabilities are wrong by more than their standard errors.
"""

import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import constraints

from pyrovae.inference.pair.contract import Site, call
from pyrovae.inference.pair.on_data import PairOnData, is_point
from pyrovae.inference.pair.running import chunk_sizes
from pyrovae.inference.pair.tracing import sites

__all__ = ["SHARE", "at_the_edge", "edge_note"]

SHARE = 1e-3
"""The share of draws at the edge from which on estimates are called wrong."""

ROWS = 1000
"""How many data points are looked at, at most, with one draw each."""


def at_the_edge(pair: PairOnData) -> dict[str, float]:
    """The share of the draws of each latent that are at the edge of its support; no entry where that is below `SHARE`.

    Latents that may be any real number cost nothing. The guide alone is run.

    Args:
        pair: the pair on its data.
    """
    bounded = [name for name, site in sites(pair.traces.guide).items() if _is_bounded(site)]
    if not bounded:
        return {}
    rows = min(ROWS, pair.size, chunk_sizes(pair.first, 1, pair.memory)[0])
    with torch.no_grad(), poutine.trace() as tracer:
        call(pair.guide, pair.place(slice(rows)), data_size=pair.size)
    drawn = sites(tracer.trace)
    shares = {name: _edge(drawn[name]["value"]).double().mean().item() for name in bounded}
    return {name: share for name, share in shares.items() if share >= SHARE}


def _is_bounded(site: Site) -> bool:
    if is_point(site) or not site["value"].is_floating_point():
        return False
    try:
        support = site["fn"].support
    except NotImplementedError:  # a distribution of the user's own may state no support
        return False
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.simplex or isinstance(
        support, type(constraints.positive) | type(constraints.nonnegative) | type(constraints.unit_interval)
    )


def _edge(z: Tensor) -> Tensor:
    """Which entries are the smallest positive number, or the largest below 1, or beyond."""
    format = torch.finfo(z.dtype)
    return (z <= format.tiny) | ((z >= 1 - format.eps) & (z <= 1))


def edge_note(edges: dict[str, float]) -> list[str]:
    """A line about draws at the edge; none where there are none.

    Args:
        edges: the shares by the name of the latent.
    """
    if not edges:
        return []
    shares = ", ".join(f"{100 * share:.2g} % of the draws of {name}" for name, share in edges.items())
    return [
        f"! {shares} are as near to the edge of the support as the number format goes: rate, elbo and log_evidence are "
        "wrong by more than their errors. Write model.double(), guide.double(), and data of float64; or keep the "
        "concentrations of the guide away from 0."
    ]
