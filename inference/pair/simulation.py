"""Data simulated by a model, and the latents behind them: exact draws from p(z | x)."""

import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call, takes
from pyrovae.inference.pair.generation import generating, require_no_data, require_size
from pyrovae.inference.pair.labels import LabelInputs, check_labels
from pyrovae.inference.pair.running import device_of, evaluating, seeded
from pyrovae.inference.pair.tracing import datum_first, sites, trace_pair

__all__ = ["simulate"]


def simulate(
    what: str, model: ProgramLike, guide: ProgramLike, num_simulations: int, given: Batch, seed: int
) -> tuple[dict[str, Tensor], Trace]:
    """Simulate data points (z, x) ~ p(z) p(x | z): a batch for the model's arguments, and the trace with the latents.

    The latents are exact draws from p(z | x).

    Args:
        what: the caller's name, for the errors.
        model, guide: the pair.
        num_simulations: N, the number of data points.
        given: the tensors that the model conditions on, such as `y`, of at least N rows; empty if there are none.
        seed: the seed of the draws; the global random state is unchanged afterwards.

    Raises:
        PairError: the model has no argument `size`, or observes another value than its argument.
        ShapeError: `given` has fewer than N rows.
    """
    require_size(what, model)
    require_no_data(what, model, given)
    if given and batch_size(given) < num_simulations:
        raise ShapeError(
            f"{what} requires {num_simulations} rows of {', '.join(map(repr, given))}, got {batch_size(given)}. Pass "
            f"more, or num_simulations={batch_size(given)}."
        )
    device = device_of(model, guide)
    given = {name: tensor[:num_simulations].to(device) for name, tensor in given.items()}
    with evaluating(model, guide), seeded(seed, device):
        with generating(what, num_simulations), poutine.trace() as tracer, LabelInputs(model, batch=given) as labels:
            call(model, given, size=num_simulations)
        check_labels(given, labels.classes)
        drawn = sites(tracer.trace)
        data = {name: datum_first(site) for name, site in drawn.items() if takes(model, name)} | given
        for name, site in trace_pair(model, guide, data, data_size=num_simulations).observed().items():
            if not torch.equal(site["value"], drawn[name]["value"]):
                raise PairError(
                    f"{what} requires a model that observes its argument '{name}' at site '{name}', got another value "
                    f"there, so a simulated value cannot be passed back. Write obs={name}, or obs={name}.T in an inner "
                    "plate."
                )
    return data, tracer.trace
