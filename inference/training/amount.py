"""How much a training takes: passes over data, or steps of a stream."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.errors import SettingError
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.training.run_folder import RunFolder
from pyrovae.inference.training.stream_data import StreamData
from pyrovae.inference.training.training_data import Batches, TrainingData

__all__ = ["Amount"]

EPOCHS = 10
"""Passes over the data by default."""


@dataclass(frozen=True)
class Amount:
    """How many steps a training takes, and of which data.

    Args:
        epochs: passes over the data; None for the default, or for a stream.
        batch_size: data points per step.
        batches: what draws the rows of each step of an epoch; None for random batches.
        steps: the batches of a stream to train on; None for data with a length.
        steps_per_epoch: the steps of an epoch of a stream.
        data_size: the number of all data points of a stream; None where no program names it.

    Raises:
        SettingError: a number has no meaning, or belongs to the other kind of data.
    """

    epochs: int | None
    batch_size: int
    batches: Batches | None
    steps: int | None
    steps_per_epoch: int
    data_size: int | None

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        check_count("steps_per_epoch", self.steps_per_epoch)
        if self.epochs is not None:
            check_count("epochs", self.epochs, 0)
        if self.data_size is not None:
            check_count("data_size", self.data_size)
        if self.steps is not None:
            self._check_steps(check_count("steps", self.steps, 0), self.steps_per_epoch)
        elif self.data_size is not None:
            raise SettingError(
                f"data_size belongs to a stream, got {self.data_size} without steps: other data have a length. Leave "
                "it out, or write steps=1000."
            )

    def _check_steps(self, steps: int, per_epoch: int) -> None:
        if self.epochs is not None or self.batches is not None:
            other = "batches" if self.epochs is None else f"epochs={self.epochs}"
            raise SettingError(f"A stream requires steps alone, got steps={steps} and {other}. Leave {other} out.")
        if steps % per_epoch:
            raise SettingError(
                f"steps requires a multiple of steps_per_epoch={per_epoch}, got {steps}. Write "
                f"steps={steps + per_epoch - steps % per_epoch}, or another steps_per_epoch."
            )

    @property
    def total(self) -> int:
        """The number of epochs; one of a stream has `steps_per_epoch` steps."""
        if self.steps is not None:
            return self.steps // self.steps_per_epoch
        return EPOCHS if self.epochs is None else self.epochs

    def prepared(
        self,
        model: ProgramLike,
        guide: ProgramLike,
        data: Any,
        valid: Batch | None,
        transform: Callable[[Any], Any],
        *,
        seed: int,
        device: torch.device,
        run: RunFolder | None,
    ) -> TrainingData | StreamData:
        """The data as the loop takes them.

        Args:
            model, guide: the pair.
            data: what `fit` was given.
            valid: validation data; None takes those of a Dataset.
            transform: from a batch of the data to the batch that the programs get.
            seed: of the order.
            device: where the data go.
            run: the run folder, for which a stream has to tell its place; None where there is none.
        """
        parts, size = (model, guide, data, valid, transform), self.batch_size
        if self.steps is None:
            return TrainingData(*parts, batch_size=size, batches=self.batches, seed=seed, device=device)
        return StreamData(
            *parts,
            batch_size=size,
            steps_per_epoch=self.steps_per_epoch,
            data_size=self.data_size,
            seed=seed,
            device=device,
            resumable=run is not None,
        )
