"""Faults of a training: what is no longer finite, and why."""

from typing import NoReturn

import pyro
import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.data.source import LazyBatch
from pyrovae.errors import NonFiniteError
from pyrovae.inference.pair.contract import ProgramLike, local_params, modules
from pyrovae.inference.pair.finite import check_finite
from pyrovae.inference.pair.tracing import trace_pair

__all__ = ["broken_rows", "check_weights", "explain_loss"]

_AT_ONCE = 2**24
"""So many numbers are looked at together."""


def broken_rows(data: Batch) -> Tensor:
    """The rows of data in memory that have NaN or infinite values, in order; none of a source.

    Args:
        data: named tensors, or a source in their place.
    """
    none = torch.zeros(0, dtype=torch.int64)
    if isinstance(data, LazyBatch):
        return none
    return torch.cat([none, *(_broken(t) for t in data.values() if t.is_floating_point() and t.numel())]).unique()


def _broken(tensor: Tensor) -> Tensor:
    parts = tensor.split(max(1, _AT_ONCE // tensor[0].numel()))
    whole = torch.cat([part.isfinite().reshape(len(part), -1).all(1) for part in parts])
    return (~whole).nonzero()[:, 0].cpu()


def check_weights(model: ProgramLike, guide: ProgramLike, epoch: int) -> None:
    """Refuse weights that are not finite.

    Args:
        model, guide: the pair.
        epoch: the number of the epoch, for the error.

    Raises:
        NonFiniteError: a weight is NaN or infinite; the first few are named.
    """
    _refuse_weights(model, guide, f"epoch {epoch}")


def _refuse_weights(model: ProgramLike, guide: ProgramLike, where: str) -> None:
    bad = [n for m in modules(model, guide) for n, p in m.named_parameters() if not p.isfinite().all()]
    if bad:
        raise NonFiniteError(
            f"{where}: the weights {', '.join(bad[:3])} are no longer finite, because the gradient of a step before "
            "was not. Lower the learning rate, or write clip_norm=10."
        )


def explain_loss(
    model: ProgramLike,
    guide: ProgramLike,
    batch: Batch,
    *,
    rows: Tensor | None,
    data_size: int,
    where: str,
    loss: float,
) -> NoReturn:
    """Name the weights or the site that made a loss not finite.

    Args:
        model, guide: the pair, with the weights that gave the loss.
        batch: the batch of that loss, as the programs get it.
        rows: the row numbers of the batch in the data, for the error; None for a batch of a stream.
        data_size: the number of all data points.
        where: epoch and step, for the error.
        loss: the loss.

    Raises:
        NonFiniteError: always.
    """
    _refuse_weights(model, guide, where)
    try:
        with local_params(model, guide), pyro.validation_enabled(False), torch.no_grad():
            check_finite(trace_pair(model, guide, batch, data_size=data_size), rows)
    except NonFiniteError as error:
        raise NonFiniteError(f"{where}: {error}") from None
    numbers = "" if rows is None else f", rows {rows[:5].tolist()}... of the data"
    raise NonFiniteError(
        f"{where}{numbers}: the loss was {loss}, but with fresh noise every site is "
        "finite. The cause was a gradient or a rare draw: lower the learning rate, or write clip_norm=10."
    )
