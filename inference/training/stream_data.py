"""The data of a training that come as a stream, as the loop sees them."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_seed
from pyrovae.data import Batch, Binarize
from pyrovae.data.named import kind_of, named_tensors
from pyrovae.data.streams import is_stream
from pyrovae.errors import SettingError
from pyrovae.inference.pair.contract import ProgramLike, filled, takes_data_size
from pyrovae.inference.pair.entry import floats_of, prepared, require_programs
from pyrovae.inference.pair.running import seeded, transformed
from pyrovae.inference.training.stream import Stream
from pyrovae.inference.training.training_data import WithDataSize

__all__ = ["StreamData"]


class StreamData:
    """Batches of a stream, one for each step; an epoch is a fixed number of them.

    Args:
        model, guide: the pair. If one of them names `data_size`, its loss is that of all data points.
        data: an iterable of batches, or a `datasets.IterableDataset` of rows.
        valid: validation data, which are no stream; None for none.
        transform: from a batch of the data to the batch that the programs get.
        batch_size: data points of a step, where the stream gives rows.
        steps_per_epoch: the number of batches of an epoch.
        data_size: the number of all data points; None where no program names it.
        seed: of the random state in which the first batch is read.
        device: where the batches go.
        resumable: whether checkpoints hold the place of the stream.

    Raises:
        DataError: the stream is empty, or gives no named tensors.
        SettingError: the data are no stream, a program names `data_size` and there is none, the transform fixes a whole
            data set once, or the stream cannot go back to its place where it has to.
        PairError, ShapeError: the first batch has no data points, or tensors of different lengths.

    Attributes:
        given: the stream, as it was given.
        train: the first batch.
        valid: named tensors; empty where there are no validation data.
        size: the number of training data points; that of a batch where it is not known.
        scaled: whether the loss is that of all data points.
        step_transform: the transform of a training step.
        first_epoch: for each step of an epoch, the rows of its batch: all of them.
        smallest: the rows of one with the fewest.
        together: the most steps that one call takes.
        settings: what fixes the steps, for the checkpoint.
    """

    together = 1

    def __init__(
        self,
        model: ProgramLike,
        guide: ProgramLike,
        data: Any,
        valid: Batch | None,
        transform: Callable[[Any], Any],
        *,
        batch_size: int,
        steps_per_epoch: int,
        data_size: int | None,
        seed: int,
        device: torch.device,
        resumable: bool,
    ) -> None:
        require_programs("fit", model, guide)
        _check_stream(data, transform)
        self.given, self.transform, self.device, self.seed = data, transform, device, check_seed("seed", seed)
        self.scaled = takes_data_size(model, guide)
        _check_size(data_size, self.scaled)
        floats = floats_of(model, guide)
        with seeded(seed, device):
            self.stream = Stream(data, batch_size, floats)
            if resumable:
                self.stream.check_resumes()
        self.train = self._now = self._placed(self.stream.first)
        self.batch_size = filled("fit", self.train)
        self.valid = {} if valid is None else self._placed(named_tensors("fit", valid, floats))
        self.size = data_size or self.batch_size
        self.step_transform = WithDataSize(transform, self.size) if self.scaled else transform
        self.smallest = torch.arange(self.batch_size)
        self.first_epoch = [self.smallest] * steps_per_epoch
        self.settings = {"steps_per_epoch": steps_per_epoch, "data_size": data_size}

    def _placed(self, batch: Batch) -> Batch:
        return {name: tensor.to(self.device) for name, tensor in prepared(batch, self.transform).items()}

    def read(self) -> Batch:
        """The next batch of the stream, prepared, on the device.

        Raises:
            DataError: the stream has ended, or the batch is not like the first one.
        """
        self._now = self._placed(self.stream.take())
        return self._now

    def batch(self, rows: Tensor) -> Batch:
        """Some rows of the batch that was read last, transformed; before the first step, of the first batch.

        Args:
            rows: their row numbers.
        """
        return transformed({name: tensor[rows.to(self.device)] for name, tensor in self._now.items()}, self.transform)

    def first_rows(self, name: str) -> Tensor:
        """One tensor of the first batch, before the transform.

        Args:
            name: the name of the tensor.
        """
        return self.train[name]

    def check_all(self, check: Callable[[Batch], Any]) -> None:
        """Check the first batch and the validation data.

        Args:
            check: raises where a batch breaks a rule.
        """
        check(self.train)
        check(self.valid)

    def reading(self, orders: Iterable[Tensor], capacity: int) -> AbstractContextManager[None]:
        """Inside, nothing is read ahead: the place of the stream is that of the last step.

        Args:
            orders: the rows `(steps, B)` of each call that comes next.
            capacity: how many rows one call takes at most.
        """
        return nullcontext()

    def order(self, epoch: int) -> list[Tensor]:
        """The rows of each step of an epoch in its batch, all of them.

        Args:
            epoch: the number of epochs before this one.
        """
        return self.first_epoch

    def state_dict(self) -> dict[str, Any]:
        """The place of the stream; None where the stream cannot tell it."""
        return {"stream": self.stream.state_dict() if self.stream.resumes else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a place.

        Args:
            state: of a training, with an earlier `state_dict()` in it.

        Raises:
            CheckpointError: it is not the state of such a stream.
        """
        if self.stream.resumes:
            self.stream.load_state_dict(state["stream"])


def _check_stream(data: Any, transform: Any) -> None:
    if not is_stream(data):
        raise SettingError(
            f"steps requires a stream, an iterable of batches without a length, got {kind_of(data)}. Write epochs=10."
        )
    if isinstance(transform, Binarize) and transform.mode == "static":
        raise SettingError(
            "A stream requires a transform of each batch by itself, got Binarize('static'), which draws the bits of a "
            "whole data set once. Write Binarize('dynamic')."
        )


def _check_size(data_size: int | None, scaled: bool) -> None:
    if data_size is not None:
        check_count("data_size", data_size)
    elif scaled:
        raise SettingError(
            "A pair that names data_size requires the number of all data points, got a stream, which has no length. "
            "Write data_size=1_000_000."
        )
