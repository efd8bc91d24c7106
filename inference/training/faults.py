"""Faults of a training: what is no longer finite, and why."""

from typing import NoReturn

import pyro
import torch

from pyrovae.data import Batch
from pyrovae.errors import NonFiniteError
from pyrovae.inference.pair.contract import ProgramLike, local_params, modules
from pyrovae.inference.pair.doctor import check_finite
from pyrovae.inference.pair.tracing import trace_pair

__all__ = ["check_weights", "explain_loss"]


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
    model: ProgramLike, guide: ProgramLike, batch: Batch, *, data_size: int, where: str, loss: float
) -> NoReturn:
    """Name the weights or the site that made a loss not finite.

    Args:
        model, guide: the pair, with the weights that gave the loss.
        batch: the batch of that loss, as the programs get it.
        data_size: the number of all data points.
        where: epoch, step and rows, for the error.
        loss: the loss.

    Raises:
        NonFiniteError: always.
    """
    _refuse_weights(model, guide, where)
    try:
        with local_params(model, guide), pyro.validation_enabled(False), torch.no_grad():
            check_finite(trace_pair(model, guide, batch, data_size=data_size))
    except NonFiniteError as error:
        raise NonFiniteError(f"{where}: {error}") from None
    raise NonFiniteError(
        f"{where}: the loss was {loss}, but with fresh noise every site is finite. The cause was a gradient or a rare "
        "draw: lower the learning rate, or write clip_norm=10."
    )
