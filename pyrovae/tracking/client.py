"""What a tracker needs of the program that keeps the runs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pyrovae.imports import imported

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Client", "client_module", "plain_settings"]


class Client(ABC):
    """One run of one tracker."""

    @abstractmethod
    def open(self, run: str | None, settings: Mapping[str, Any], epoch: int) -> str:
        """Begin a run or go on with one, and return its name.

        Args:
            run: what an earlier `open` returned, to go on with that run; None begins another.
            settings: what fixes the training, by name.
            epoch: the first epoch that will be sent.
        """

    @abstractmethod
    def log(self, row: Mapping[str, float], epoch: int) -> None:
        """Send the numbers of an epoch.

        Args:
            row: numbers by name.
            epoch: the number of the epoch.
        """

    @abstractmethod
    def show(self, name: str, picture: "Image", epoch: int) -> None:
        """Send a picture.

        Args:
            name: its name.
            picture: the picture.
            epoch: the number of the epoch.
        """

    @abstractmethod
    def close(self, failed: bool) -> None:
        """End the run.

        Args:
            failed: whether an error ended the training.
        """


def client_module(module: str, install: str = "pyrovae[track]") -> ModuleType:
    """The package of a tracker.

    Args:
        module: its name.
        install: what pip has to install.

    Raises:
        MissingExtraError: it is not installed.
    """
    return imported(module, f"tracker({module!r}) requires", install)


def plain_settings(settings: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Settings as every tracker takes them: numbers and texts.

    Args:
        settings: by name.
    """
    return {name: value if isinstance(value, bool | int | float) else str(value) for name, value in settings.items()}
