"""The run folder: checkpoint, metrics and configuration of a training.

The checkpoint is the run; the other files are derived from it, and a resume writes them anew. A folder belongs to one
training at a time, and a training that is there is replaced only where the user says so.
"""

import json
import os
import platform
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from filelock import FileLock, Timeout

from pyrovae.errors import CheckpointError, OutputError
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.training import checkpoint
from pyrovae.inference.training.history import History
from pyrovae.inference.training.parameters import undisturbed
from pyrovae.inference.training.run_pair import PAIR, TENSORS, write_pair
from pyrovae.output import write_text
from pyrovae.version import __version__

__all__ = ["RunFolder"]

_OWN = ("checkpoint.pt", checkpoint.PREVIOUS, "config.json", "metrics.csv", "metrics.json", PAIR, TENSORS)
"""What a training writes."""

_LATER = ("summary.json", "summary.html", "comparison.json", "report.html")
"""What is written about a training after it, and means nothing beside another."""

_LOCK = ".lock"
_OWNER = ".lock.json"


class RunFolder:
    """Writes and reads the files of a run folder; each is replaced as a whole.

    Args:
        folder: the run folder, made with the first file.
        resume: whether to continue the training that is there.
        overwrite: whether to replace the training that is there.
    """

    def __init__(self, folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
        self.folder, self.resume, self.overwrite = folder, resume, overwrite

    @property
    def checkpoint(self) -> Path:
        """The file of the checkpoint."""
        return self.folder / "checkpoint.pt"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, the folder belongs to this training; the claim ends with the process, however that ends.

        Raises:
            CheckpointError: there is nothing to resume.
            OutputError: a training is there that is neither resumed nor replaced, another process is training there,
                or the folder cannot be written.
        """
        self.check()
        lock = FileLock(self.folder / _LOCK, timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise OutputError(self._busy()) from None
        except OSError as error:
            raise OutputError(
                f"cannot write {_LOCK!r} into {str(self.folder)!r}: {error.strerror}. Choose a folder that you may "
                "write: --out runs/mine, or run=... in fit()."
            ) from error
        try:
            self.check()  # another process may have trained meanwhile
            self._claim()
            yield
        finally:
            with suppress(OSError):  # the folder may be gone
                (self.folder / _OWNER).unlink(missing_ok=True)
            lock.release()

    def check(self) -> None:
        """Refuse a folder that holds what was not asked for.

        Raises:
            CheckpointError: there is nothing to resume.
            OutputError: a training is there that is neither resumed nor replaced.
        """
        if self.resume and self.overwrite:
            raise OutputError("fit requires resume or overwrite, got both. Leave one of them out.")
        there = [name for name in (*_OWN, *_LATER) if (self.folder / name).is_file()]
        if self.resume and not checkpoint.has_run(self.folder):
            raise CheckpointError(
                f"resume requires a run in {str(self.folder)!r}, got none. Check the path, or leave resume=True "
                "(--resume) out to start a run there."
            )
        if there and not (self.resume or self.overwrite):
            raise OutputError(
                f"fit requires a run folder without a run, got {str(self.folder)!r}, which holds {self._described()}. "
                "Continue it with resume=True (--resume), replace it with overwrite=True (--overwrite), or name "
                "another folder with run=... (--out)."
            )

    def _described(self) -> str:
        """What is there: epochs, ELBO and date."""
        try:
            rows = checkpoint.load(self.checkpoint)["history"]["rows"]
            last = rows[-1] if rows else {}
            found = f"a run of {len(rows)} epochs"
            found += f", ELBO {last['elbo']:.2f}" if "elbo" in last else ""
        except (CheckpointError, LookupError, TypeError, ValueError):
            found = "files of a run"
        written = max(file.stat().st_mtime for name in (*_OWN, *_LATER) if (file := self.folder / name).is_file())
        return f"{found}, written {datetime.fromtimestamp(written):%Y-%m-%d %H:%M}"

    def _busy(self) -> str:
        try:
            owner = json.loads((self.folder / _OWNER).read_text())
            who = f"process {owner['process']} on {owner['host']}, which has trained there since {owner['since']}"
        except (OSError, ValueError, LookupError, TypeError):
            who = "another process that is training there"
        return (
            f"the run folder {str(self.folder)!r} requires one training at a time, got {who}. Wait until it has ended, "
            "or name another folder with run=... (--out)."
        )

    def _claim(self) -> None:
        """Say who trains here, and remove what writers that were killed left behind."""
        owner = {"process": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M}"}
        _write_json(self.folder / _OWNER, owner)
        for file in self.folder.glob(".*"):
            begun = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}", file.name)
            if begun and begun[1] in (*_OWN, *_LATER, _OWNER):
                file.unlink(missing_ok=True)

    def start(self, state: dict[str, Any], settings: dict[str, Any], model: ProgramLike, guide: ProgramLike) -> None:
        """Write the first checkpoint and `config.json`; what is left of a replaced run is removed.

        Args:
            state: of the training, before its first step.
            settings: what fixes the order of the data and the steps; a resumed run must have the same.
            model, guide: the pair.
        """
        for name in (*_OWN, *_LATER):
            (self.folder / name).unlink(missing_ok=True)
        with undisturbed([]):  # to print a module with random parameters is to draw them
            about = _versions() | {"model": repr(model), "guide": repr(guide)}
        self._constant = {"config": settings, "about": about}
        self.save(state)
        self._write_config()

    def _write_config(self) -> None:
        _write_json(self.folder / "config.json", self._constant["config"] | self._constant["about"])

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint.

        Args:
            state: of the training.
        """
        checkpoint.save(self.checkpoint, {**self._constant, **state})

    def save_epoch(self, state: dict[str, Any], history: History) -> None:
        """Write the checkpoint, `metrics.csv` and `metrics.json`.

        Args:
            state: of the training.
            history: of all its epochs.
        """
        self.save(state)
        self._write_metrics(history)

    def _write_metrics(self, history: History) -> None:
        write_text(self.folder / "metrics.csv", history.csv())
        _write_json(self.folder / "metrics.json", history.rows, indent=1)

    def load(self, device: torch.device, settings: dict[str, Any]) -> dict[str, Any]:
        """Read the checkpoint.

        Args:
            device: where its tensors go.
            settings: of the training that goes on.

        Raises:
            CheckpointError: the checkpoint is broken, or of a training with other settings.
        """
        state = checkpoint.load(self.checkpoint, device)
        before, about = state.pop("config", None), state.pop("about", None)
        if not isinstance(before, dict) or not isinstance(about, dict):
            raise CheckpointError(f"{str(self.checkpoint)!r} holds no training that can be resumed. Train again.")
        if before != settings:
            differ = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
            had, has = ({name: config.get(name) for name in differ} for config in (before, settings))
            raise CheckpointError(
                f"A resumed run requires the settings that {str(self.checkpoint)!r} was trained with, {had}, got "
                f"{has}. Use the same, or start another run folder at these weights with load_weights (--start)."
            )
        self._constant = {"config": before, "about": about}
        return state

    def describe(self, model: ProgramLike, guide: ProgramLike, data: Any, transform: Any) -> None:
        """Write `pair.json`, by which `pyrovae.load_run` builds the pair and finds its data.

        Args:
            model, guide: the pair.
            data: what `fit` was given.
            transform: applied to each batch.
        """
        write_pair(self.folder, model, guide, data, transform)

    def mend(self, history: History) -> None:
        """Write `config.json` and the metrics as the checkpoint has them; a kill may have left them an epoch behind.

        Args:
            history: of the checkpoint.
        """
        self._write_config()
        if history.rows:
            self._write_metrics(history)


def _write_json(path: Path, content: Any, indent: int = 2) -> None:
    write_text(path, json.dumps(content, indent=indent))


def _versions() -> dict[str, str]:
    return {
        "pyrovae": __version__,
        "torch": str(torch.__version__),
        "pyro": pyro.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
