"""What `fit` checks before the first step: the pair on its first batch, and the numbers of the data in memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pyrovae.errors import NonFiniteError, PairError, PyrovaeError
from pyrovae.inference.pair.contract import ProgramLike, batch_size, local_params
from pyrovae.inference.pair.doctor import examine
from pyrovae.inference.pair.finite import check_finite
from pyrovae.inference.pair.running import evaluating, transformed
from pyrovae.inference.pair.tracing import trace_pair
from pyrovae.inference.pair.values import DataRules
from pyrovae.inference.training.faults import broken_rows
from pyrovae.inference.training.minibatches import gathered
from pyrovae.inference.training.parameters import undisturbed
from pyrovae.inference.training.stream_data import StreamData
from pyrovae.inference.training.training_data import TrainingData

__all__ = ["check_batches"]


def check_batches(model: ProgramLike, guide: ProgramLike, data: TrainingData | StreamData, *, may_scale: bool) -> None:
    """Refuse a pair that breaks the contract, or cannot take the smallest batch, as where rows are normalised.

    Args:
        model, guide: the pair.
        data: the data of the training.
        may_scale: whether sites may have a scale of their own.

    Raises:
        PairError, ShapeError, SupportError, NonFiniteError: as in `check_pair`; or the data in memory have NaN or
            infinite values, whose rows are named.
    """
    whole = data.batch(data.first_epoch[0])
    with _naming_rows(data):
        rules = examine(model, guide, whole, may_scale, data_size=data.size)
    _check_broken(model, guide, rules, data)
    kept = [n for n in rules.label_names if n in data.train and torch.equal(whole[n], data.first_rows(n))]
    data.check_all(lambda split: rules.check_labels({name: split[name] for name in kept if name in split}))
    first, smallest = data.first_epoch[0], data.smallest
    if len(smallest) == len(first):
        return
    try:
        with undisturbed([]), torch.no_grad(), local_params(model, guide):
            trace_pair(model, guide, data.batch(smallest), data_size=data.size)
    except PyrovaeError:
        raise
    except Exception as error:
        better = next(b for b in range(len(first) - 1, 0, -1) if not 0 < data.size % b <= len(smallest))
        raise PairError(
            f"fit requires a pair that takes every batch, got an error from the one of {len(smallest)} data points: "
            f"{error} Write batch_size={better}."
        ) from error


@contextmanager
def _naming_rows(data: TrainingData | StreamData) -> Iterator[None]:
    """Adds to an error about numbers that are not finite which rows of the data have such numbers."""
    try:
        yield
    except NonFiniteError as error:
        rows = broken_rows(data.train)
        if not len(rows):
            raise
        whose = "first batch" if isinstance(data, StreamData) else "training data"
        found = f"rows {rows[:5].tolist()} of the {whose} ({len(rows)} of {batch_size(data.train)})"
        raise NonFiniteError(f"{error} NaN or infinite values are in {found}.") from None


def _check_broken(model: ProgramLike, guide: ProgramLike, rules: DataRules, data: TrainingData | StreamData) -> None:
    """Refuse data in memory with NaN or infinite values, unless the transform or the programs deal with them."""
    for split, name in ((data.train, "training"), (data.valid, "validation")):
        rows = broken_rows(split)[: data.batch_size]
        if not len(rows):
            continue
        try:
            with undisturbed([]), evaluating(model, guide):
                batch = transformed(gathered(split, rows, data.device), data.transform)
                rules.check(batch, rows)
                check_finite(trace_pair(model, guide, batch, data_size=data.size), rows)
        except NonFiniteError as error:
            raise NonFiniteError(f"fit requires finite {name} data: {error}") from None
