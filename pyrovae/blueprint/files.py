"""Reading the files of a folder that anyone may have written."""

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyrovae.errors import FolderError

__all__ = ["read_bytes", "read_config"]

LARGEST_CONFIG = 2**24
"""The most bytes of a JSON file."""

DEEPEST, MOST_VALUES = 64, 2_000_000
"""How deep its values may be nested, and how many there may be."""


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file; no link is followed, and nothing is waited for.

    Args:
        path: the file.
        most: the most bytes that it may have.

    Raises:
        FolderError: it is missing, no regular file, too large, or cannot be read.
    """
    how = [getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC")]
    try:
        handle = os.open(path, os.O_RDONLY | sum(how))
    except (OSError, ValueError) as error:
        link = "it is a symbolic link" if path.is_symlink() else getattr(error, "strerror", None) or error
        raise FolderError(f"{str(path)!r} cannot be read: {link}. Restore a copy of the folder.") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise FolderError(f"{str(path)!r} is no regular file. Restore a copy of the folder.")
        if status.st_size > most:
            raise FolderError(f"{str(path)!r} has {status.st_size:,} bytes, and at most {most:,} are read.")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(most)
    except OSError as error:
        raise FolderError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    finally:
        os.close(handle)


def read_config(content: bytes, name: str) -> dict[str, Any]:
    """The object in a JSON file: each key once, finite numbers, and no deep nesting.

    Args:
        content: what the file holds.
        name: the name of the file, for the error.

    Raises:
        FolderError: it is no such JSON.
    """
    try:
        found = json.loads(content.decode(), object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError as error:
        raise FolderError(f"{name} is broken: it is nested too deeply. Restore a copy of the folder.") from error
    except ValueError as error:  # no JSON, no UTF-8, a key twice, or an integer of more than 4,300 digits
        raise FolderError(f"{name} is broken: {str(error)[:200]}. Restore a copy of the folder.") from error
    if not isinstance(found, dict):
        raise FolderError(f"{name} is broken: it requires an object, got {type(found).__name__}.")
    _check_nesting(found, name)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a key stands there twice among {ascii([key for key, _ in pairs])[:80]}")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def _check_nesting(value: Any, name: str) -> None:
    level, count = [value], 0
    for _ in range(DEEPEST):
        inside: list[Any] = [part for entry in level for part in _parts(entry)]
        count += len(inside)
        if count > MOST_VALUES:
            raise FolderError(f"{name} holds more than {MOST_VALUES:,} values, and no more are read.")
        if not inside:
            return
        level = inside
    raise FolderError(f"{name} is nested more than {DEEPEST} levels deep, and no more are read.")


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
