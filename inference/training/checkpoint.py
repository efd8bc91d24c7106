"""Checkpoints: a training state in one file, written atomically, and read without running code.

The file has torch's zip format and holds only tensors, numbers, strings and containers. It is read with
`weights_only=True`, which refuses a malicious pickle before any of it runs. A SHA-256 of the content follows it, so a
changed byte is found. The checkpoint before the last one is kept beside it, and is used when the last one is broken.
"""

import hashlib
import io
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from pyrovae.errors import CheckpointError, CheckpointWarning
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.training.pair_weights import check_finite_weights, check_same_architecture, restore
from pyrovae.output import write_atomically

__all__ = ["PREVIOUS", "ending", "has_run", "load", "load_weights", "save", "seal"]

PREVIOUS = "checkpoint.previous.pt"
"""The checkpoint before the last one, in the same folder."""

_SEAL = b"\npyrovae sha256 "
"""What stands between the content and its SHA-256 in hexadecimal digits."""


class _BrokenError(CheckpointError):
    """The file is not what was written."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a training state, and keep the one before as `PREVIOUS`.

    Args:
        path: the file.
        state: tensors, numbers, strings, and containers of them.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    write_atomically(path, lambda file: file.writelines([content, seal(content)]), keep=path.with_name(PREVIOUS))


def seal(content: bytes | memoryview) -> bytes:
    """What follows the content of a checkpoint: its SHA-256.

    Args:
        content: a training state in torch's format.
    """
    return _SEAL + hashlib.sha256(content).hexdigest().encode() + b"\n"


def has_run(folder: Path) -> bool:
    """Whether a folder holds a checkpoint, be it whole or broken.

    Args:
        folder: a run folder, or a path where none is.
    """
    return any((folder / name).is_file() for name in ("checkpoint.pt", PREVIOUS))


def load(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a training state; where the file is missing or broken, the one before it, with a `CheckpointWarning`.

    Args:
        path: the file.
        device: where its tensors go.

    Raises:
        CheckpointError: there is no whole file, or it holds more than tensors and plain values.
    """
    path = Path(path)
    before = path.with_name(PREVIOUS)
    try:
        return _read(path, device)
    except _BrokenError as error:
        if path.name == PREVIOUS or not before.is_file():
            raise CheckpointError(str(error)) from error
        state = _read(before, device)
        warnings.warn(f"{error} Took {before.name!r}, the checkpoint before it.", CheckpointWarning, stacklevel=2)
        return state


def _read(path: Path, device: torch.device | str) -> dict[str, Any]:
    content = _content(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # about unknown pickle protocols
            state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        raise CheckpointError(
            f"{str(path)!r} holds something other than tensors and plain values, so it is refused without being "
            f"run{f': it names {named[1]}' if named else ''}. Train again, or restore a copy."
        ) from error
    except Exception as error:  # a file that others made may make the reader raise anything
        raise CheckpointError(f"{str(path)!r} is no checkpoint ({error}). Train again, or restore a copy.") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{str(path)!r} holds a {type(state).__name__}, not a training state. Train again.")
    return state


def _content(path: Path) -> bytes:
    """The bytes of a file before its seal, which must be theirs."""
    if not path.is_file():
        raise _BrokenError(f"no checkpoint at {str(path)!r}. Train one first: fit(..., run={str(path.parent)!r}).")
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror}.") from error
    content, found, _ = whole.rpartition(_SEAL)
    if not found or content + seal(content) != whole:
        what = "was changed after it was written" if found else "is truncated or no checkpoint"
        raise _BrokenError(f"{str(path)!r} {what}: its checksum is wrong. Train again, or restore a copy.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            size = sum(entry.file_size for entry in file.infolist())
    except Exception as error:  # a file that others made may make the reader raise anything
        raise CheckpointError(f"{str(path)!r} is no checkpoint ({error}). Train again.") from error
    if size > len(content):
        raise CheckpointError(f"{str(path)!r} is no checkpoint: it would grow to {size:,} bytes. Train again.")
    return content


def load_weights(model: ProgramLike, guide: ProgramLike, run: str | Path) -> None:
    """Load the weights of a run folder into a pair.

    They are those that the training ended with: the best ones with patience, the average with an average, else the
    last.

    Args:
        model, guide: the pair, of the architecture that was trained.
        run: the run folder.

    Raises:
        CheckpointError: the folder holds no checkpoint, a broken one, or one of another architecture.
    """
    weights = ending(load(Path(run) / "checkpoint.pt"))
    check_same_architecture(model, guide, weights)
    check_finite_weights(model, guide, weights)
    restore(model, guide, weights)


def ending(state: dict[str, Any]) -> Any:
    """The weights that a training ended with: the best ones, the average, or the last.

    Args:
        state: of the training.
    """
    return state.get("best") or state.get("weights", state)
