"""Estimators as folders: their pair, parameters and what they learned, as `pyrovae.save` writes a pair."""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from pyrovae.blueprint import pack
from pyrovae.errors import FolderError
from pyrovae.inference.estimators.columns import Features, TableEncoder
from pyrovae.inference.estimators.linear_start import NoDecoder
from pyrovae.inference.estimators.scaling import ColumnScaling
from pyrovae.inference.estimators.scikit_learn import BaseEstimator, check_is_fitted
from pyrovae.inference.training.history import History
from pyrovae.sharing.card import Card
from pyrovae.sharing.folder import check_place, read_folder, write_folder

__all__ = ["load_estimator", "save_estimator"]

E = TypeVar("E", bound=BaseEstimator)

PARAMETER, LEARNED = "parameter ", "attribute "
"""What the names of the parts of a folder start with."""

PLACED = ("model_", "guide_", "history_")
"""What an estimator learned that has a place of its own."""


def save_estimator(estimator: BaseEstimator, folder: str | os.PathLike[str], overwrite: bool) -> Path:
    """Write a fitted estimator into a folder.

    Args:
        estimator: the estimator.
        folder: a new or empty folder.
        overwrite: whether to replace an estimator or a pair that is there.

    Raises:
        FolderError: a parameter, or a part of the pair, that a folder cannot hold, such as a function.
        OutputError: the folder holds something, or cannot be written.
    """
    check_is_fitted(estimator)
    place, kept = check_place(folder, overwrite), estimator.get_params(deep=False)
    learned = {name: value for name, value in vars(estimator).items() if name not in (*kept, *PLACED)}
    roots = {
        "model": estimator.model_,
        "guide": estimator.guide_,
        "estimator": type(estimator).__name__,
        "history": asdict(estimator.history_),
        **{f"{PARAMETER}{name}": value for name, value in kept.items()},
        **{f"{LEARNED}{name}": value for name, value in learned.items()},
    }
    card = Card(type(estimator).__name__, f"Load it by `{type(estimator).__name__}.load(folder)`.")
    return write_folder(place, pack(roots), card.text(estimator.model_, estimator.guide_))


def load_estimator(kind: type[E], folder: str | os.PathLike[str]) -> E:
    """A fitted estimator from its folder; nothing in the folder is executed.

    Args:
        kind: the class of the estimator.
        folder: the folder, or the name of one on the hub.

    Raises:
        FolderError: the folder is broken, or holds no such estimator.
    """
    roots, _ = read_folder(folder, [Features, TableEncoder, ColumnScaling, NoDecoder])
    if roots.get("estimator") != kind.__name__:
        got = roots.get("estimator", "a pair alone")
        raise FolderError(f"{kind.__name__}.load requires a folder that {kind.__name__}.save wrote, got {got!r:.80}.")
    parameters, learned = (_named(roots, prefix) for prefix in (PARAMETER, LEARNED))
    known = set(kind._get_param_names())
    wrong = [name for name in learned if not re.fullmatch("_?[a-z][a-z_]*", name) or hasattr(kind, name)]
    if parameters.keys() != known or wrong:
        raise FolderError(f"The folder's {kind.__name__} has other parameters or attributes: {ascii(wrong)[:80]}.")
    made = kind(**parameters)
    for name, value in {**learned, "model_": roots["model"], "guide_": roots["guide"]}.items():
        setattr(made, name, value)
    made.history_ = _history(roots.get("history"))
    return made


def _named(roots: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in roots.items() if name.startswith(prefix)}


def _history(entries: Any) -> History:
    if not isinstance(entries, dict) or entries.keys() != {entry.name for entry in fields(History)}:
        raise FolderError("The folder's history is none. Restore a copy of the folder.")
    return History(**entries)
