"""Weights & Biases, through its own client."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrovae.tracking.client import Client, client_module, plain_settings

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["WeightsAndBiases"]


class WeightsAndBiases(Client):
    """A run at Weights & Biases; `WANDB_MODE=offline` keeps it in the folder `wandb` of a run folder.

    Args:
        folder: the run folder, whose name is that of the run.
        project: the name of the project.

    Raises:
        MissingExtraError: wandb is not installed.
    """

    def __init__(self, folder: Path, project: str) -> None:
        self._wandb = client_module("wandb")
        self._folder, self._project = folder, project
        self._run: Any = None

    def open(self, run: str | None, settings: Mapping[str, Any], epoch: int) -> str:
        self._run = self._wandb.init(
            project=self._project,
            name=self._folder.name,
            dir=str(self._folder),
            config=plain_settings(settings),
            id=run,
            resume="allow",
        )
        return self._run.id

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        self._run.log(dict(row), step=epoch)

    def show(self, name: str, picture: "Image", epoch: int) -> None:
        self._run.log({name: self._wandb.Image(picture)}, step=epoch)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
