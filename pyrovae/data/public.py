"""Data sets that have a name."""

import os
from functools import partial
from pathlib import Path

from pyrovae.data.bags import load_docstrings
from pyrovae.data.bundled import load_breast_cancer, load_digits, load_photos
from pyrovae.data.cells import load_cells
from pyrovae.data.chorales import load_chorales
from pyrovae.data.chords import load_chords
from pyrovae.data.dataset import Dataset
from pyrovae.data.downloads import DOWNLOADED, load_downloaded
from pyrovae.data.sprites import load_sprites
from pyrovae.data.text import load_unicode_names

__all__ = ["NAMES", "data_root", "load_public"]

_OFFLINE = {
    "digits": load_digits,
    "photos": load_photos,
    "sprites": load_sprites,
    "chords": load_chords,
    "cells": load_cells,
    "breast-cancer": load_breast_cancer,
    "unicode-names": load_unicode_names,
    "docstrings": load_docstrings,
}

NAMES = (*_OFFLINE, "chorales", *DOWNLOADED)
"""The data sets that have a name. Other data are given as a file or a folder."""


def load_public(name: str, root: str | os.PathLike[str] | None, download: bool, valid: int | None) -> Dataset:
    """A data set that has a name, in its conventional split.

    Args:
        name: one of `NAMES`.
        root: the folder of downloaded files; see `data_root`.
        download: whether to download files that are missing.
        valid: the number of data points held out for validation; each set has its own default.

    Raises:
        DataError: files are missing or broken, or `valid` does not fit.
        MissingExtraError: an optional package is not installed.
    """
    if name in _OFFLINE:
        return _OFFLINE[name](valid)
    load = load_chorales if name == "chorales" else partial(load_downloaded, name)
    return load(data_root(root), download, valid)


def data_root(root: str | os.PathLike[str] | None) -> Path:
    """The folder of downloaded files.

    Args:
        root: the folder; by default `$PYROVAE_DATA`, or else `pyrovae` in the user's cache.
    """
    if root is None:
        root = os.environ.get("PYROVAE_DATA")
    if root:
        return Path(root).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyrovae"
