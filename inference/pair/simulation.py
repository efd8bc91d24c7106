"""Data that a model simulates, with the latents that made them: exact draws of p(z | x)."""

import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call, takes
from pyrovae.inference.pair.running import device_of, evaluating, seeded
from pyrovae.inference.pair.tracing import datum_first, sites, trace_pair

__all__ = ["simulate"]


def simulate(
    what: str, model: ProgramLike, guide: ProgramLike, num_simulations: int, given: Batch, seed: int
) -> tuple[dict[str, Tensor], Trace]:
    """Data points that the model draws, as a batch for its arguments, and the trace that has their latents.

    The latents are exact draws of p(z | x).

    Args:
        what: the name of the function that asks, for the errors.
        model, guide: the pair.
        num_simulations: N, the number of data points.
        given: what the model conditions on, such as `y`, at least N rows; empty for none.
        seed: of the draws; the global random state is left alone.

    Raises:
        PairError: a model that does not generate, or whose arguments do not hold what it drew.
        ShapeError: too few rows are given.
    """
    if not takes(model, "size"):
        raise PairError(
            f"{what} simulates data, so the model requires an argument size. Write def model(x=None, *, size=None), "
            'with pyro.plate("data", len(x) if size is None else size, dim=-1).'
        )
    if given and batch_size(given) < num_simulations:
        raise ShapeError(
            f"{what} requires {num_simulations} rows of {', '.join(map(repr, given))}, got {batch_size(given)}. Pass "
            f"more, or num_simulations={batch_size(given)}."
        )
    device = device_of(model, guide)
    given = {name: tensor[:num_simulations].to(device) for name, tensor in given.items()}
    with evaluating(model, guide), seeded(seed, device):
        with poutine.trace() as tracer:
            call(model, given, size=num_simulations)
        drawn = sites(tracer.trace)
        data = {name: datum_first(site) for name, site in drawn.items() if takes(model, name)} | given
        for name, site in trace_pair(model, guide, data, data_size=num_simulations).observed().items():
            if not torch.equal(site["value"], drawn[name]["value"]):
                raise PairError(
                    f"the model observes a value at site '{name}' that differs from its argument '{name}', so what it "
                    f"drew there cannot be passed back. Observe the argument itself: obs={name}, or obs={name}.T in "
                    "plates besides 'data'."
                )
    return data, tracer.trace
