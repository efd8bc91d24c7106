"""The data of a training: on the device, and in the order of each epoch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from pyrovae.checks import check_seed
from pyrovae.data import Batch, Dataset, check_unchanged
from pyrovae.data.file_rows import MappedRows
from pyrovae.data.mapped import is_mapped
from pyrovae.data.named import batch_of
from pyrovae.data.permutation import TABLE, ShuffledRows
from pyrovae.data.source import LazyBatch
from pyrovae.errors import DataError, PairError, SettingError
from pyrovae.inference.pair.contract import ProgramLike, batch_size, takes_data_size
from pyrovae.inference.pair.entry import floats_of, prepared, require_programs
from pyrovae.inference.pair.running import transformed
from pyrovae.inference.training.minibatches import gathered

__all__ = ["Batches", "TrainingData", "WithDataSize", "step_sizes"]

Batches = Callable[[torch.Generator], Sequence[Tensor]]
"""What draws the order of an epoch: the rows `(B,)` of each of its steps."""


@dataclass(frozen=True)
class WithDataSize:
    """A transform that adds `data_size`, for programs with a latent that all data points share.

    Args:
        transform: from a batch of the data to the batch that the programs get.
        size: the number of all data points.
    """

    transform: Callable[[Any], Any]
    size: int

    def __call__(self, batch: Any) -> Any:
        return {**self.transform(batch), "data_size": self.size}


class TrainingData:
    """Training and validation data, prepared by the transform, and the rows of each step.

    Args:
        model, guide: the pair. If one of them names `data_size`, its loss is that of all data points.
        data: a `pyrovae.data.Dataset`, or training data as in `entered`.
        valid: validation data; None takes those of the Dataset.
        transform: from a batch of the data to the batch that the programs get.
        batch_size: data points per step.
        batches: what draws the order of an epoch; None for random batches of `batch_size`.
        seed: of the order.
        device: where the data go, unless the Dataset is streamed from a file.

    Raises:
        DataError: the data are no named tensors; the message has the line to write.
        PairError: there are no training data, or a program is no function.
        SettingError: a seed that is no whole number from 0 to 2^32 - 1, or `batches` that is no function.

    Attributes:
        given: the data, as they were given.
        train, valid: named tensors; `valid` is empty where there are no validation data.
        size: the number of training data points.
        scaled: whether the loss is that of all data points.
        step_transform: the transform of a training step.
        first_epoch: the rows of each step of the first epoch.
        smallest: the rows of one with the fewest.
        together: the most steps that one call takes.
        settings: what fixes the steps beside the data and their order, for the checkpoint.
    """

    together = 64
    settings: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        model: ProgramLike,
        guide: ProgramLike,
        data: Any,
        valid: Batch | None,
        transform: Callable[[Any], Any],
        *,
        batch_size: int,
        batches: Batches | None,
        seed: int,
        device: torch.device,
    ) -> None:
        require_programs("fit", model, guide)
        self.given, self.transform, self.batch_size, self.device = data, transform, batch_size, device
        self.seed, self._streamed = check_seed("seed", seed), getattr(data, "streamed", False)
        if not (batches is None or callable(batches)):
            raise SettingError(f"batches requires a function that draws the rows, got {batches!r}. Write batches=None.")
        self._batches, floats = batches, floats_of(model, guide)
        train = _split(data, "train", floats)
        self.size = _size(train)
        if self.size == 0:
            raise PairError('fit requires training data, got none. Pass {"x": x}, or a Dataset with a train split.')
        valid = _split(data, "valid", floats) if valid is None else batch_of("fit", valid, floats)
        self.train, self.valid = self._placed(train), self._placed(valid if _size(valid) else {})
        self.scaled = takes_data_size(model, guide)
        self.step_transform = WithDataSize(transform, self.size) if self.scaled else transform
        self.first_epoch = self.order(0)
        self.smallest = self.first_epoch[-1] if batches is None else min(self.first_epoch, key=len)

    def _placed(self, split: Batch) -> Batch:
        whole = prepared(split, self.transform) if split else {}
        if isinstance(whole, LazyBatch):
            return whole
        if is_mapped(whole) and all(tensor.device.type == "cpu" for tensor in whole.values()):
            return LazyBatch(MappedRows(whole), dict)
        return {name: tensor if self._streamed else tensor.to(self.device) for name, tensor in whole.items()}

    def read(self) -> Batch:
        """What the rows of the next step are taken from: the training data."""
        return self.train

    def state_dict(self) -> dict[str, Any]:
        """The place in the data, for the checkpoint: nothing, for the order of an epoch is known."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a place: nothing to do.

        Args:
            state: of a training.
        """

    def batch(self, rows: Tensor) -> Batch:
        """The transformed batch of some training data points, on the device.

        Args:
            rows: their row numbers.
        """
        return transformed(gathered(self.train, rows, self.device), self.transform)

    def first_rows(self, name: str) -> Tensor:
        """The rows of the first step of one tensor of the training data, on the device, before the transform.

        Args:
            name: the name of the tensor.
        """
        return gathered(self.train, self.first_epoch[0], self.device)[name]

    def check_all(self, check: Callable[[Batch], Any]) -> None:
        """Check training and validation data, those of a source where they are read.

        Args:
            check: raises where a batch breaks a rule.
        """
        self.train, self.valid = (_checked(split, check) for split in (self.train, self.valid))

    def reading(self, orders: Iterable[Tensor], capacity: int) -> AbstractContextManager[None]:
        """Inside, rows are read ahead, where the training data are read from a file.

        Args:
            orders: the rows `(steps, B)` of each call that comes next.
            capacity: how many rows one call takes at most.
        """
        if not isinstance(self.train, LazyBatch):
            return nullcontext()
        return self.train.reading(orders, capacity, self.device)

    def order(self, epoch: int) -> Sequence[Tensor]:
        """The rows of each step of an epoch. They depend on seed and epoch alone, so a resumed run repeats them.

        Args:
            epoch: the number of epochs before this one.

        Raises:
            DataError: `batches` gives rows that are not in the data; the data are mapped from a file that has changed.
        """
        check_unchanged(self.train)
        check_unchanged(self.valid)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        if self._batches is not None:
            return self._checked(_rows(self._batches, generator))
        if self.size > TABLE:
            return ShuffledRows(self.size, self.batch_size, generator)
        return list(torch.randperm(self.size, generator=generator).split(self.batch_size))

    def _checked(self, steps: list[Tensor]) -> list[Tensor]:
        """The rows of the steps, all of which are in the data: a negative one would be taken from the end."""
        for rows in steps:
            if not isinstance(rows, Tensor) or rows.dtype != torch.int64 or rows.dim() != 1 or not len(rows):
                got = f"{rows.dtype} {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
                raise DataError(f"batches requires row numbers of each step, int64 (B,), got {got}. Write rows.long().")
            low, high = (int(end) for end in rows.aminmax())
            if low < 0 or high >= self.size:
                raise DataError(
                    f"batches requires row numbers from 0 to {self.size - 1}, got {low if low < 0 else high}. Build "
                    "it for the training data that fit gets."
                )
        if not steps:
            raise DataError("batches requires at least one step in an epoch, got none.")
        return steps


def step_sizes(order: Sequence[Tensor]) -> list[int]:
    """The number of rows of each step of an epoch.

    Args:
        order: the rows of each step.
    """
    return order.sizes() if isinstance(order, ShuffledRows) else [len(rows) for rows in order]


def _checked(split: Batch, check: Callable[[Batch], Any]) -> Batch:
    """The split, after a check; a source is checked batch by batch."""

    def unchanged(batch: Batch) -> Batch:
        check(batch)
        return batch

    return split.then(unchanged) if isinstance(split, LazyBatch) else unchanged(split)


def _split(data: Any, name: str, floats: torch.dtype | None) -> Batch:
    """The training or validation data of a `Dataset`; anything else is training data."""
    if isinstance(data, Dataset):
        return batch_of("fit", getattr(data, name), floats)
    return batch_of("fit", data, floats) if name == "train" else {}


def _size(split: Batch) -> int:
    return batch_size(split) if split else 0


def _rows(batches: Batches, generator: torch.Generator) -> list[Tensor]:
    """The rows of each step that the user's function draws."""
    try:
        return list(batches(generator))
    except TypeError as error:
        raise SettingError(
            f"batches requires a function of a torch.Generator that returns the rows of each step, got {batches!r}: "
            f"{error}. Write batches=None, or a ByLength."
        ) from error
