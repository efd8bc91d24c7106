"""Writing files: a reader sees the old content or the new one, and a failed write harms nothing."""

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from pyrovae.errors import OutputError

__all__ = ["write_atomically", "write_text"]


def write_atomically(path: Path, write: Callable[[BinaryIO], Any], *, keep: Path | None = None) -> None:
    """Write a file so that other readers see the old content or the new one, never a part of it.

    Args:
        path: the file; its folder is made where it is missing.
        write: writes the content to an open binary file, a temporary one in the same folder.
        keep: what becomes of the old content; None drops it.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            if keep is not None and path.is_file():
                _copy(path, keep)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):  # it may not exist yet
                temporary.unlink()
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path.name!r} into {str(path.parent)!r}: {error.strerror}. Choose a folder that you may "
            "write: --out runs/mine, or run=... in fit()."
        ) from error


def _copy(path: Path, copy: Path) -> None:
    """Put the content of a file in another place too, at no moment a part of it."""
    temporary = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}")
    try:
        os.link(path, temporary)
    except OSError:  # this file system has no links
        shutil.copyfile(path, temporary)
    temporary.replace(copy)


def write_text(path: Path, text: str) -> None:
    """`write_atomically` of a text in UTF-8; characters without a code become question marks.

    Args:
        path: the file.
        text: its content.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    write_atomically(path, lambda file: file.write(text.encode(errors="replace")))
