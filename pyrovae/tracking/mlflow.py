"""MLflow, through its own client."""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrovae.tracking.client import Client, client_module, plain_settings

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MLflow"]

_AT_ONCE = 100
"""How many settings one request may hold."""


class MLflow(Client):
    """A run of an MLflow experiment, on the server `MLFLOW_TRACKING_URI`, or in the folder `mlruns` of a run folder.

    Args:
        folder: the run folder, whose name is that of the run.
        project: the name of the experiment.

    Raises:
        MissingExtraError: mlflow is not installed.
    """

    def __init__(self, folder: Path, project: str) -> None:
        mlflow = client_module("mlflow")
        self._project, self._name, self._entities = project, folder.name, mlflow.entities
        where = os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").resolve().as_uri()
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # one run a folder needs no database
        self._client = mlflow.MlflowClient(tracking_uri=where)
        self._run = ""

    def open(self, run: str | None, settings: Mapping[str, Any], epoch: int) -> str:
        if run is not None:
            self._client.update_run(run, status="RUNNING")
            self._run = run
            return run
        self._run = self._client.create_run(self._experiment(), run_name=self._name).info.run_id
        pairs = [
            self._entities.Param(re.sub(r"[^\w\-. :/]", "", name), str(value))
            for name, value in plain_settings(settings).items()
        ]
        for start in range(0, len(pairs), _AT_ONCE):
            self._client.log_batch(self._run, params=pairs[start : start + _AT_ONCE])
        return self._run

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._project)
        return found.experiment_id if found else self._client.create_experiment(self._project)

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(self._run, [self._entities.Metric(name, row[name], now, epoch) for name in row])

    def show(self, name: str, picture: "Image", epoch: int) -> None:
        self._client.log_image(self._run, picture, f"{name}/{epoch:05d}.png")

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")
