"""The run folder: checkpoint, metrics and configuration of a training."""

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch

from pyrovae.errors import CheckpointError
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.training import checkpoint
from pyrovae.inference.training.history import History
from pyrovae.version import __version__

__all__ = ["Recorder"]


class Recorder:
    """Writes and reads the files of a run folder; each is replaced as a whole.

    Args:
        folder: the run folder, made with the first file.
        config: what fixes the order of the data and the steps; a resumed run must have the same.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.config = folder, config

    @property
    def checkpoint(self) -> Path:
        """The file of the checkpoint."""
        return self.folder / "checkpoint.pt"

    def start(self, state: dict[str, Any], model: ProgramLike, guide: ProgramLike) -> None:
        """Write the first checkpoint, and `config.json`.

        Args:
            state: of the training, before its first step.
            model, guide: the pair.
        """
        self.save(state)
        config = self.config | _versions() | {"model": repr(model), "guide": repr(guide)}
        _write_text(self.folder / "config.json", json.dumps(config, indent=2))

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint.

        Args:
            state: of the training.
        """
        checkpoint.save(self.checkpoint, {"config": self.config, **state})

    def save_epoch(self, state: dict[str, Any], history: History) -> None:
        """Write the checkpoint, `metrics.csv` and `metrics.json`.

        Args:
            state: of the training.
            history: of all its epochs.
        """
        self.save(state)
        _write_text(self.folder / "metrics.csv", history.csv())
        _write_text(self.folder / "metrics.json", json.dumps(history.rows, indent=1))

    def load(self, device: torch.device) -> dict[str, Any]:
        """Read the checkpoint.

        Args:
            device: where its tensors go.

        Raises:
            CheckpointError: the checkpoint is broken, or of a training with another configuration.
        """
        state = checkpoint.load(self.checkpoint, device)
        before, now = state["config"], self.config
        if before != now:
            differ = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            had, has = ({name: config.get(name) for name in differ} for config in (before, now))
            raise CheckpointError(
                f"A resumed run requires the settings that {str(self.checkpoint)!r} was trained with, {had}, got "
                f"{has}. Use the same, or start another run folder at these weights with load_weights (--start)."
            )
        return state


def _write_text(path: Path, text: str) -> None:
    checkpoint.write_atomically(path, lambda file: file.write(text.encode()))


def _versions() -> dict[str, str]:
    return {
        "pyrovae": __version__,
        "torch": torch.__version__,
        "pyro": pyro.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
