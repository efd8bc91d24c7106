"""The history of a training: one row per epoch."""

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.display import Cells, Shown
from pyrovae.errors import ColumnError
from pyrovae.plots.curves import curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["History"]

_VALIDATED = ("elbo", "rate", "distortion", "log_evidence", "train_rate", "train_distortion")
_SHOWN = 20  # rows of the table; the ones in the middle are left out of a longer history


@dataclass(frozen=True, repr=False)
class History(Shown):
    """What happened in a training, one row per epoch, in nats per data point.

    A row has `epoch`, `step` (updates so far), `lr`, `loss` (the objective's mean over the data points of the epoch),
    and `train_elbo` (the ELBO of the same draws, whatever is optimised; absent where the loss does not provide it).
    Both are of the networks in training mode, with their dropout and a decoder's `word_dropout` and `teacher_forcing`.
    With validation data it also has their `elbo`, `rate` and `distortion`, and `log_evidence`, the mean of the bound
    log 1/S sum_s w_s, where the loss weighs S draws. `train_rate` and `train_distortion` are measured with the same
    weights on the first training data points, as many as validation has and at most 500; they are absent where the pair
    cannot be evaluated there, as where labels are hidden. `history["elbo"]` is a column.

    Attributes:
        rows: one dict per epoch.
        best_epoch: the epoch with the highest validation ELBO, or log-evidence where there is one; None without
            validation data.
        seconds: the time that the training took, with that before a resume.
        stopped: `"epochs"` when all epochs were run, `"patience"` when the validation ELBO stopped rising before,
            `"callback"` when a callback raised `StopTraining`.
        step_losses: the objective of each step, the mean over the data points of its batch, `(steps,)`.
    """

    rows: tuple[dict[str, float], ...] = ()
    best_epoch: int | None = None
    stopped: str = "epochs"
    seconds: float = field(default=0.0, compare=False)
    step_losses: Tensor = field(default_factory=lambda: torch.zeros(0), compare=False, repr=False)

    def __getitem__(self, name: str) -> list[float]:
        """A column.

        Raises:
            ColumnError: no epoch, or not every epoch, has it.
        """
        lacking = [number for number, row in enumerate(self.rows, 1) if name not in row]
        if lacking:
            raise ColumnError(_no_column(name, self._names(), lacking, len(self.rows)))
        return [row[name] for row in self.rows]

    def cells(self) -> Cells:
        names = self._names()
        cells = [[_shown(name, row[name]) if name in row else "-" for name in names] for row in self.rows]
        if len(cells) > _SHOWN:
            cells = [*cells[: _SHOWN // 2], ["..."] * len(names), *cells[-_SHOWN // 2 :]]
        judged = "log-evidence" if "log_evidence" in names else "ELBO"
        best = "" if self.best_epoch is None else f"; the validation {judged} was highest in epoch {self.best_epoch}"
        return Cells(cells, names, after=[f"nats per data point; stopped by {self.stopped}{best}"], words=())

    def plot(self) -> "Figure":
        """The loss of each epoch, in training and on the validation data, and there the rate and the distortion.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        return curves(self.rows)

    def csv(self) -> str:
        """The rows as comma-separated values with a header; a value that an epoch lacks is empty."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=self._names())
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def _names(self) -> list[str]:
        """The columns of all rows: those of training data may be absent in some epochs."""
        return list(dict.fromkeys(name for row in self.rows for name in row)) or ["epoch"]


def _no_column(name: str, names: list[str], lacking: list[int], epochs: int) -> str:
    """What to write where a history lacks a column."""
    if len(lacking) < epochs:
        return f"history requires {name!r} in every epoch, got none in epochs {lacking[:5]}. Write history.rows."
    got = f"history requires one of its columns, {', '.join(names)}, got {name!r}."
    if name in _VALIDATED:
        read = ", or read history['train_elbo']" if name == "elbo" and "train_elbo" in names else ""
        return f"{got} It is measured on validation data: write fit(..., valid=...){read}."
    return f"{got} Write history['loss']."


def _shown(name: str, value: float) -> str:
    if name in ("epoch", "step"):
        return str(int(value))
    return f"{value:.2e}" if name == "lr" else f"{value:.2f}"
