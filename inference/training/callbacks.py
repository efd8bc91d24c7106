"""Callbacks: functions that see each epoch of a training, once it is validated and its checkpoint is written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyrovae.data import Batch
from pyrovae.data.named import kind_of
from pyrovae.errors import SettingError
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.running import modes_kept
from pyrovae.inference.training.history import History
from pyrovae.inference.training.parameters import undisturbed

__all__ = ["Callback", "Callbacks", "EpochReport", "StopTraining"]


class StopTraining(Exception):
    """No error: raised by a callback, it ends the training after this epoch, with `history.stopped == "callback"`.

    All callbacks see the epoch before the training ends. A resume continues from there.
    """


@dataclass(frozen=True)
class EpochReport:
    """What a callback sees of an epoch that has ended.

    Attributes:
        history: all epochs so far, those before a resume included.
        model, guide: the pair, with the weights of the last step.
        data: some data to draw pictures from: those of the validation, or the first training data where there are none.
        transform: what the training applies to each batch.
        settings: what fixes the training, by name: seed, sizes, optimizer, loss and networks, as in `config.json`.
        folder: the run folder; None where the training has none.
    """

    history: History = field(repr=False)
    model: ProgramLike = field(repr=False)
    guide: ProgramLike = field(repr=False)
    data: Batch = field(repr=False)
    transform: Callable[[Any], Any] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    folder: Path | None

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 1."""
        return len(self.history.rows)

    @property
    def row(self) -> dict[str, float]:
        """The row of the epoch in `metrics.csv`: its number, the loss, the validation ELBO, and so on."""
        return dict(self.history.rows[-1])


Callback = Callable[[EpochReport], object]
"""A function that sees each epoch; what it returns is ignored."""


class Callbacks:
    """The callbacks of a training, in their order.

    Each runs with random numbers, buffers and training modes of its own: the training goes on as if it had not run.

    Args:
        callbacks: functions of an `EpochReport`.

    Raises:
        SettingError: they are no sequence of functions.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        if not isinstance(callbacks, list | tuple):
            raise SettingError(
                f"callbacks requires a list of functions, got {kind_of(callbacks)}. Write callbacks=[callback]."
            )
        for callback in callbacks:
            if not callable(callback):
                raise SettingError(
                    f"callbacks requires functions of an EpochReport, got {kind_of(callback)}. Write "
                    "callbacks=[lambda report: print(report.row)]."
                )
        self._callbacks = tuple(callbacks)

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Around a training: callbacks that are context managers, as trackers are, are entered and left."""
        with ExitStack() as stack:
            for callback in self._callbacks:
                if isinstance(callback, AbstractContextManager):
                    stack.enter_context(callback)
            yield

    def see(self, report: EpochReport) -> bool:
        """Let each callback see an epoch, and return whether one of them asks to stop.

        Args:
            report: the epoch.
        """
        asked = False
        for callback in self._callbacks:
            with undisturbed([]), modes_kept(report.model, report.guide):
                try:
                    callback(report)
                except StopTraining:
                    asked = True
        return asked
