"""Data that a model simulates, with the latents that made them: exact draws of p(z | x)."""

from typing import Any

import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.pair.contract import Batch, ProgramLike, batch_size, call, takes
from pyrovae.inference.pair.running import device_of, evaluating, seeded
from pyrovae.inference.pair.tracing import sites, trace_pair

__all__ = ["simulate"]


def simulate(
    what: str, model: ProgramLike, guide: ProgramLike, size: int, given: Batch, seed: int
) -> tuple[dict[str, Tensor], Trace]:
    """N = `size` data that the model draws, as a batch for its arguments, and the trace that has their latents.

    Args:
        what: who asks, for the errors.
        given: what the model conditions on, such as `y`, at least N rows.

    Raises:
        PairError: a model that does not generate, or whose arguments do not hold what it drew.
        ShapeError: too few rows are given.
    """
    if not takes(model, "size"):
        raise PairError(
            f"{what} simulates data, and the model has no argument size. Write def model(x=None, *, size=None), with "
            'pyro.plate("data", len(x) if size is None else size, dim=-1).'
        )
    if given and batch_size(given) < size:
        raise ShapeError(
            f"{what} wants {size} rows of {', '.join(map(repr, given))}, got {batch_size(given)}. Pass more, or size="
            f"{batch_size(given)}."
        )
    device = device_of(model, guide)
    given = {name: tensor[:size].to(device) for name, tensor in given.items()}
    with evaluating(model, guide), seeded(seed, device):
        with poutine.trace() as tracer:
            call(model, given, size=size)
        drawn = sites(tracer.trace)
        data = {name: _by_datum(site) for name, site in drawn.items() if takes(model, name)} | given
        for name, site in trace_pair(model, guide, data, data_size=size).observed().items():
            if not torch.equal(site["value"], drawn[name]["value"]):
                raise PairError(
                    f"the model observes at site '{name}' something else than it drew there and was given: observe the "
                    f"argument itself, obs={name}, in plates besides 'data' obs={name}.T."
                )
    return data, tracer.trace


def _by_datum(site: Any) -> Tensor:
    """The value of a site with the datum as its leading dimension, inner plates after it."""
    value: Tensor = site["value"].movedim(len(site["fn"].batch_shape) - 1, 0)
    return value
