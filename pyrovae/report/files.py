"""What a run folder holds, read without trust: whoever sends a folder chose every byte of it.

Nothing is run and no link is followed. A file that is broken is left out, and the report says which one and why.
"""

import base64
import io
import json
import math
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyrovae.errors import CheckpointError
from pyrovae.imports import imported

__all__ = ["HUGE", "LONGEST", "RunFiles", "picture", "read", "read_json"]

LARGEST = 16 * 2**20
"""The most bytes of a file that are read: a training of 50,000 epochs has a `metrics.json` of 15 MB."""

LONGEST = 50_000
"""The most characters of a text that are kept."""

HUGE = 1e100
"""Numbers from here on count as infinite: no drawing has room for them."""

SIDE = 1200
"""The most pixels of a picture's side; larger ones shrink."""

VALIDATED = ("elbo", "rate", "distortion")
TRAINED = ("train_rate", "train_distortion")
COLUMNS = ("epoch", "loss", "train_elbo", *VALIDATED, *TRAINED)

T = TypeVar("T")


@dataclass(frozen=True)
class RunFiles:
    """The files of a run that a report shows; a file that is missing or broken is empty here.

    Attributes:
        folder: the run folder.
        summary: the entries of `summary.json`.
        metrics: the rows of `metrics.json`, one per epoch: finite epochs, and numbers by name.
        config: the entries of `config.json`.
        broken: one sentence for each file that is there and cannot be used.
    """

    folder: Path
    summary: dict[str, Any]
    metrics: list[dict[str, float]]
    config: dict[str, Any]
    broken: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path) -> "RunFiles":
        """Read the files of a run; this raises nothing, whatever they hold.

        Args:
            folder: the run folder.
        """
        broken: list[str] = []

        def used(name: str, parse: Callable[[Path], T], missing: T) -> T:
            try:
                return parse(folder / name) if os.path.lexists(folder / name) else missing
            except CheckpointError as error:
                broken.append(str(error))
                return missing

        summary: dict[str, Any] = used("summary.json", _entries, {})
        metrics: list[dict[str, float]] = used("metrics.json", _rows, [])
        config: dict[str, Any] = used("config.json", _entries, {})
        return cls(folder, summary, metrics, config, tuple(broken))


def read(path: Path) -> bytes:
    """The content of a regular file; no link is followed, and nothing is waited for.

    Args:
        path: the file.

    Raises:
        CheckpointError: it is missing, no regular file, cannot be read, or has more than 16 MiB.
    """
    name = path.name
    if path.is_symlink():
        raise CheckpointError(f"{name!r} is a symbolic link, and a report requires a file. Replace it by a copy.")
    how = [getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")]
    try:
        handle = os.open(path, os.O_RDONLY | sum(how))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{name!r} cannot be read: {why}. Restore a copy, or delete it.") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise CheckpointError(f"{name!r} is no regular file. Delete it, or restore a copy.")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise CheckpointError(f"{name!r} cannot be read: {error.strerror}. Restore a copy, or delete it.") from error
    finally:
        os.close(handle)
    if len(content) > LARGEST:
        raise CheckpointError(f"{name!r} has more than {LARGEST // 2**20} MiB, and a report reads no more. Delete it.")
    return content


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Args:
        path: the file.

    Raises:
        CheckpointError: the file cannot be read, or holds no JSON.
    """
    content = read(path)
    try:
        return json.loads(content)
    except RecursionError as error:
        why: Any = "it is nested too deeply"
        raise CheckpointError(f"{path.name!r} is broken: {why}. Restore a copy, or delete it.") from error
    except ValueError as error:  # no JSON, no UTF-8, or an integer of more than 4,300 digits
        why = str(error)[:200]
        raise CheckpointError(f"{path.name!r} is broken: {why}. Restore a copy, or delete it.") from error


def _entries(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise _wrong(path, "one object", content)
    return content


def _rows(path: Path) -> list[dict[str, float]]:
    """The rows of a history. All have the columns of the first one; two of training data are optional in each row."""
    content = read_json(path)
    if not isinstance(content, list):
        raise _wrong(path, "a list of rows", content)
    rows = [_row(path, row) for row in content]
    everywhere = {name for name in TRAINED if all(name in row for row in rows)}
    names = [name for name in COLUMNS if rows and name in rows[0] and name not in {*TRAINED} - everywhere]
    for row in rows:
        if missing := {"epoch", "loss", *names, *(VALIDATED if "elbo" in names else ())} - row.keys():
            raise _wrong(path, f"a number {min(missing)!r} in each row", list(row))
    return [{name: row[name] for name in names} for row in rows]


def _row(path: Path, row: Any) -> dict[str, float]:
    if not isinstance(row, dict):
        raise _wrong(path, "an object for each epoch", row)
    numbers = {name: _number(row[name]) for name in COLUMNS if name in row}
    found = {name: value for name, value in numbers.items() if value is not None}
    if not abs(found.get("epoch", 0.0)) < 2**53:
        raise _wrong(path, "a finite epoch", row["epoch"])
    return found


def _number(value: Any) -> float | None:
    """A number of JSON, with an infinity in place of a huge one; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if abs(value) < HUGE:
        return float(value)
    return math.nan if value != value else math.copysign(math.inf, 1 if value > 0 else -1)


def _wrong(path: Path, expected: str, got: Any) -> CheckpointError:
    shown = ascii(got) if isinstance(got, str | bytes | float) else type(got).__name__
    return CheckpointError(
        f"{path.name!r} is broken: it requires {expected}, got {shown[:80]}. Restore a copy, or delete it."
    )


def picture(path: Path) -> str:
    """A PNG file as a data address. It is decoded and written anew, so what a page gets is a picture and no more.

    Args:
        path: the file.

    Raises:
        CheckpointError: it cannot be read, or is no PNG.
    """
    pillow, content, file = imported("PIL.Image", "A report requires", "Pillow"), read(path), io.BytesIO()
    try:
        with warnings.catch_warnings(action="error"), pillow.open(io.BytesIO(content), formats=["PNG"]) as image:
            pixels = image.convert("RGB")
        pixels.thumbnail((SIDE, SIDE))
        pixels.save(file, "PNG", optimize=True)
    except Exception as error:  # a broken file may make the reader raise anything
        why = ascii(str(error))[1:-1][:200] or type(error).__name__
        raise CheckpointError(f"{path.name!r} is no picture: {why}. Restore a copy, or delete it.") from error
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
