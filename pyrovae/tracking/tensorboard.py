"""TensorBoard, through torch's own writer."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrovae.tracking.client import Client, client_module, plain_settings

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["TensorBoard"]


class TensorBoard(Client):
    """Event files in the folder `tensorboard` of a run folder: `tensorboard --logdir runs` shows them.

    Args:
        folder: the run folder.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        client_module("tensorboard")
        self._folder = folder / "tensorboard"
        self._writer: Any = None

    def open(self, run: str | None, settings: Mapping[str, Any], epoch: int) -> str:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        # Events from this epoch on, of a run that was replaced or whose last checkpoint was older, are hidden.
        self._writer = SummaryWriter(str(self._folder), purge_step=epoch)
        for summary in hparams(plain_settings(settings), {}):
            self._writer.file_writer.add_summary(summary)
        return str(self._folder)

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        for name, value in row.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def show(self, name: str, picture: "Image", epoch: int) -> None:
        self._writer.add_image(name, np.asarray(picture), epoch, dataformats="HWC")

    def close(self, failed: bool) -> None:
        self._writer.close()
