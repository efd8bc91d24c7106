"""Trackers: callbacks of `fit` that send its epochs, its settings and pictures of the pair."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pyrovae.checks import check_choice, check_count
from pyrovae.inference.processes.launch import current
from pyrovae.inference.training.callbacks import EpochReport
from pyrovae.output import write_text
from pyrovae.tracking.client import Client
from pyrovae.tracking.mlflow import MLflow
from pyrovae.tracking.pictures import as_image, pair_pictures
from pyrovae.tracking.tensorboard import TensorBoard
from pyrovae.tracking.trackio import Trackio
from pyrovae.tracking.wandb import WeightsAndBiases

__all__ = ["KINDS", "Tracker", "tracker"]

_CLIENTS: dict[str, Callable[[Path, str], Client]] = {
    "tensorboard": lambda folder, project: TensorBoard(folder),
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
    "trackio": lambda folder, project: Trackio(project),
}

KINDS = tuple(_CLIENTS)
"""The trackers by name."""

_NOTE = "tracking.json"
"""Which run each tracker of a run folder goes on with after a resume, and the last epoch that it was sent."""


def tracker(
    kind: str,
    folder: str | Path,
    *,
    project: str = "pyrovae",
    every: int | None = None,
    pictures: bool = True,
) -> "Tracker":
    """A tracker, for `fit(..., callbacks=[tracker("tensorboard", "runs/mine")])`.

    It sends each row of `metrics.csv` under its own names, the settings of the run, and pictures of the pair. A resumed
    training goes on with the same run.

    Args:
        kind: "tensorboard", "mlflow", "wandb" or "trackio".
        folder: the run folder; its name is that of the run.
        project: where the tracker groups runs by project.
        every: draw pictures every so many epochs too; None draws them at the end alone.
        pictures: whether to draw pictures at all.

    Raises:
        MissingExtraError: the package of the tracker is not installed.
        SettingError: an argument has no meaning.
    """
    check_choice("kind", kind, KINDS)
    check_choice("pictures", pictures, (False, True))
    if every is not None:
        check_count("every", every)
    return Tracker(_CLIENTS[kind](Path(folder), project), kind, Path(folder), every=every, pictures=pictures)


class Tracker:
    """A callback of `fit` that sends each epoch to a client, and pictures of the pair with the weights of the end.

    Args:
        client: what keeps the runs.
        kind: its name, by which a resumed training finds its run.
        folder: the run folder, where the run is noted.
        every: draw pictures every so many epochs too; None draws them at the end alone.
        pictures: whether to draw pictures at all.
    """

    def __init__(
        self, client: Client, kind: str, folder: Path, *, every: int | None = None, pictures: bool = True
    ) -> None:
        self._client, self._kind, self._note = client, kind, folder / _NOTE
        self._every, self._pictures = every, pictures
        self._run, self._sent = "", 0
        self._last: EpochReport | None = None

    def __enter__(self) -> "Tracker":
        return self

    def __call__(self, report: EpochReport) -> None:
        """Send an epoch; of several processes, process 0 does so.

        Args:
            report: the epoch.
        """
        if not current().main:
            return
        if self._last is None:
            self._begin(report)
        self._last = report
        for row in report.history.rows[self._sent :]:
            self._client.log(row, int(row["epoch"]))
        self._sent = report.epoch
        self._write_note()
        if self._every is not None and report.epoch % self._every == 0:
            self._draw(report)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        last, self._last = self._last, None
        if last is None:
            return
        try:
            if kind is None:
                self._draw(last)
        finally:
            self._client.close(failed=kind is not None)

    def _begin(self, report: EpochReport) -> None:
        """Open the run; the first epoch of a training begins another, a later one goes on with what is noted."""
        noted = self._notes().get(self._kind, {}) if report.epoch > 1 else {}
        self._sent = noted.get("epoch", 0)
        self._run = self._client.open(noted.get("run"), report.settings, self._sent + 1)

    def _draw(self, report: EpochReport) -> None:
        if not self._pictures:
            return
        for name, figure in pair_pictures(report.model, report.guide, report.data, report.transform):
            self._client.show(name, as_image(figure), report.epoch)

    def _notes(self) -> Mapping[str, Any]:
        try:
            found = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write_note(self) -> None:
        notes = {**self._notes(), self._kind: {"run": self._run, "epoch": self._sent}}
        write_text(self._note, json.dumps(notes, indent=2))
