"""Patience: when to stop a training, and with which weights to end it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyrovae.errors import PairError

__all__ = ["Patience"]


class Patience:
    """Keeps the weights of the epoch with the highest validation ELBO, and stops when it has not risen for some epochs.

    A loss that weighs several draws is judged by the log-evidence that as many draws give: its ELBO may fall meanwhile.

    Args:
        epochs: how many epochs without a higher validation ELBO stop the training; None runs all of them.
        validated: whether there are validation data.

    Raises:
        PairError: patience without validation data.

    Attributes:
        best_epoch: the epoch with the highest validation ELBO so far; None without validation data.
        ending: the weights to end the training with; None for those of its last step.
        stopped: `"patience"` once the patience is exhausted, `"callback"` once a callback has ended the training, and
            `"epochs"` before.
    """

    def __init__(self, epochs: int | None, *, validated: bool) -> None:
        if epochs is not None and not validated:
            raise PairError("patience requires validation data, got none. Pass valid={'x': x}, or leave patience out.")
        self.epochs = epochs
        self.best_epoch: int | None = None
        self.ending: dict[str, Any] | None = None
        self.stopped = "epochs"

    def judge(
        self,
        rows: Sequence[dict[str, float]],
        weights: Callable[[], dict[str, Any]],
        mean: dict[str, Any] | None = None,
    ) -> None:
        """Look at the epoch that has just ended.

        Args:
            rows: those of the history; the last one is of this epoch.
            weights: gives a copy of the weights that were validated.
            mean: the running mean of the weights, to end with where the patience is None.
        """
        row = rows[-1]
        measure = "log_evidence" if "log_evidence" in row else "elbo"
        better = measure in row and row[measure] >= max(past[measure] for past in rows if measure in past)
        if better:
            self.best_epoch = int(row["epoch"])
        if self.epochs is None:
            self.ending = mean
        elif better:
            self.ending = weights()
        elif row["epoch"] - (self.best_epoch or 0) >= self.epochs:
            self.stopped = "patience"

    def resume(self, history: Mapping[str, Any]) -> None:
        """Go on where an earlier training stopped; one that a callback ended continues.

        Args:
            history: `best_epoch` and `stopped`, as the checkpoint has them.
        """
        self.best_epoch = history["best_epoch"]
        self.stopped = "epochs" if history["stopped"] == "callback" else history["stopped"]
