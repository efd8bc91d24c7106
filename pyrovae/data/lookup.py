"""Whether data can be found under a name, without loading them."""

import difflib
import os
from pathlib import Path

from pyrovae.data.files import SUFFIXES
from pyrovae.data.parquet import is_parquet
from pyrovae.data.public import NAMES
from pyrovae.errors import DataError

__all__ = ["check_source"]

FILES = (*SUFFIXES, ".parquet", ".h5ad", ".txt", ".tsv")
"""The suffixes of files that hold data."""


def check_source(name: str | os.PathLike[str]) -> None:
    """Refuse a name that `load` cannot find, without loading anything.

    Args:
        name: the name of a data set, `folder:PATH`, or the path of a file.

    Raises:
        DataError: there is no such data set, file or folder.
    """
    name = os.fspath(name)
    path = Path(name.removeprefix("folder:")).expanduser()
    if name.startswith("folder:") or path.suffix.lower() in FILES:
        if not os.path.lexists(path):
            kind = "folder" if name.startswith("folder:") else "file"
            raise DataError(f"No such {kind}: {path} (the working folder is {Path.cwd()}).")
    elif name not in NAMES and not is_parquet(path):
        raise DataError(_unknown(name, path))


def _unknown(name: str, path: Path) -> str:
    """What to write in place of a name that is none."""
    forms = f"{', '.join(NAMES)}, folder:PATH, {', '.join(f'PATH{suffix}' for suffix in FILES)}"
    if path.is_dir():
        return f"{name!r} is a folder. Write folder:{name}. Known data: {forms}."
    near = difflib.get_close_matches(name.lower(), NAMES, n=1, cutoff=0.0)[0]
    return f"There is no data set {name!r}; the nearest name is {near!r}. Known data: {forms}."
