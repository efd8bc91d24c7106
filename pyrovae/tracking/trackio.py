"""trackio, through its own client."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyrovae.tracking.client import Client, client_module, plain_settings

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Trackio"]


class Trackio(Client):
    """A run of trackio, kept on this machine: `trackio show` shows it.

    Args:
        project: the name of the project.

    Raises:
        MissingExtraError: trackio is not installed.
    """

    def __init__(self, project: str) -> None:
        self._trackio = client_module("trackio", "trackio")  # no part of the extra: it keeps Pillow back
        self._project = project
        self._run: Any = None

    def open(self, run: str | None, settings: Mapping[str, Any], epoch: int) -> str:
        self._run = self._trackio.init(
            project=self._project, name=run, config=plain_settings(settings), resume="allow", embed=False
        )
        return self._run.name

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        # trackio has a word "step" of its own.
        self._run.log({"steps" if name == "step" else name: value for name, value in row.items()}, step=epoch)

    def show(self, name: str, picture: "Image", epoch: int) -> None:
        self._run.log({name: self._trackio.Image(picture)}, step=epoch)

    def close(self, failed: bool) -> None:
        self._run.finish()
