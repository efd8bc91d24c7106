"""A pair as a folder: `save` writes it, `load` builds it again without the code that trained it."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pyrovae.blueprint.files import read_bytes, read_config
from pyrovae.blueprint.parts import FORMAT, Packed, pack, unpack
from pyrovae.checks import check_choice
from pyrovae.data import Table, Vocabulary
from pyrovae.display import Cells, Shown
from pyrovae.errors import FolderError, OutputError
from pyrovae.inference.training.checkpoint import has_run
from pyrovae.output import write_atomically, write_text
from pyrovae.sharing.card import Card
from pyrovae.sharing.hub import download, upload

__all__ = [
    "FILES",
    "LARGEST",
    "WEIGHTS",
    "Pair",
    "check_place",
    "load",
    "push_to_hub",
    "read_folder",
    "save",
    "write_folder",
]

CONFIG, WEIGHTS, CARD = FILES = ("config.json", "model.safetensors", "README.md")
"""The files of a folder: what was built, its weights, and what a reader should know."""

LARGEST = 2**34
"""The most bytes of weights that are read."""

LARGEST_TEXT = 2**24

LINE = 100
"""The most characters of a part in the table of a pair."""

HUB_NAME = r"[A-Za-z0-9_-][\w.-]*/[A-Za-z0-9_-][\w.-]*"

ROOTS = ("model", "guide", "transform", "vocabulary", "table")


@dataclass(frozen=True, eq=False, repr=False)
class Pair(Shown):
    """A pair that was loaded from a folder, in evaluation mode on the CPU.

    Attributes:
        model, guide: the pair.
        transform: what training applied to a batch; None is `pyrovae.data.Scale()`, as everywhere.
        vocabulary: the `Vocabulary` of sentences; None where the data are none.
        table: the `Table` of a data frame; None where the data are none.
        card: the text of README.md.
    """

    model: Any
    guide: Any
    transform: Any = None
    vocabulary: Vocabulary | None = None
    table: Table | None = None
    card: str = ""

    def cells(self) -> Cells:
        parts = {name: getattr(self, name) for name in ROOTS}
        rows = [(name, _in_words(part)) for name, part in parts.items() if part is not None]
        return Cells(rows, after=["card: the text of README.md"] if self.card else [], words=(0, 1))


def _in_words(part: Any) -> str:
    """What a part of a pair is, in a line: the class of a program, anything else in its own words."""
    program = getattr(part, "__self__", part)
    if isinstance(program, nn.Module):
        return f"{type(program).__name__}, {sum(p.numel() for p in program.parameters()):,} parameters"
    return str(part).partition("\n")[0][:LINE]


def save(
    folder: str | os.PathLike[str],
    model: Any,
    guide: Any,
    *,
    transform: Any = None,
    vocabulary: Vocabulary | None = None,
    table: Table | None = None,
    card: Card | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a pair into a folder that anyone can load: `config.json`, `model.safetensors` and `README.md`.

    The config lists which classes the pair was built of, and the arguments of their constructors; it holds no code. A
    module records its arguments when it is built, where its class is the suite's, derives from
    `pyrovae.models.Program`, or is `class Mine(pyrovae.Recorded, nn.Module)`. The pair is built once from what was
    written and compared with the one given; neither it nor the global random state changes.

    Args:
        folder: a new or empty folder.
        model, guide: the pair: modules, or methods of a module.
        transform: what training applied to a batch.
        vocabulary: for sentences, the one that encoded them.
        table: for a data frame, the one that encoded it.
        card: what a reader should know: data, evaluation, licence.
        overwrite: whether to replace a pair that is there.

    Returns:
        The folder.

    Raises:
        FolderError: the pair has a part that a folder cannot hold, such as a function, or was changed after it was
            built; the message names it.
        OutputError: the folder holds something, or cannot be written.
    """
    place = check_place(folder, overwrite)
    _check_kinds(transform, vocabulary, table, card)
    roots = {"model": model, "guide": guide, "transform": transform, "vocabulary": vocabulary, "table": table}
    packed = pack(roots)
    return write_folder(place, packed, (card or Card()).text(model, guide, transform, packed.own))


def _check_kinds(transform: Any, vocabulary: Any, table: Any, card: Any) -> None:
    if isinstance(transform, nn.Module):
        raise FolderError(
            f"save requires a transform without weights, got the module {type(transform).__name__}. Write a frozen "
            "dataclass with prepare() and __call__(), or make it a part of the guide."
        )
    for name, value, kind in (("vocabulary", vocabulary, Vocabulary), ("table", table, Table), ("card", card, Card)):
        if not isinstance(value, kind | None):
            raise FolderError(f"save requires {name} to be a {kind.__name__}, got a {type(value).__name__}.")


def check_place(folder: str | os.PathLike[str], overwrite: bool) -> Path:
    """The folder to write into.

    Args:
        folder: a new or empty folder, or one that holds a pair.
        overwrite: whether a pair may be replaced.

    Raises:
        OutputError: something is there that is not to be replaced.
    """
    check_choice("overwrite", overwrite, (False, True))
    if not isinstance(folder, str | os.PathLike) or not isinstance(os.fspath(folder), str):
        raise OutputError(f"save requires the path of a folder, got {str(folder)[:80]!r}. Write save('my-pair', ...).")
    place = Path(folder)
    try:
        there = sorted(path.name for path in place.iterdir()) if os.path.lexists(place) else []
    except OSError as error:
        raise OutputError(f"save requires a folder, got {str(place)!r}: {error.strerror}. Name another one.") from error
    if there and not overwrite:
        raise OutputError(
            f"save requires an empty folder, got {str(place)!r}, which holds {', '.join(there[:3])}. Name another one, "
            "or write overwrite=True to replace a pair that is there."
        )
    foreign = [name for name in there if name not in FILES and not re.fullmatch(r"\..+\.[0-9a-f]{8}", name)]
    if foreign and not _is_pair(place):  # of a save that was killed there may be any of the files
        raise OutputError(
            f"save replaces a pair alone, got {str(place)!r}, which holds {', '.join(there[:3])} and no pair. Name "
            "another folder."
        )
    return place


def _is_pair(place: Path) -> bool:
    try:
        return read_config(read_bytes(place / CONFIG, LARGEST_TEXT), CONFIG).get("format") == FORMAT
    except FolderError:
        return False


def write_folder(place: Path, packed: Packed, card: str) -> Path:
    """Write the files of a pair. The config comes last, and an old one goes first: no reader finds a mixture.

    Args:
        place: the folder.
        packed: config and weights.
        card: the text of README.md.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        (place / CONFIG).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write into {str(place)!r}: {error.strerror}. Name another folder.") from error
    write_atomically(place / WEIGHTS, lambda file: file.write(packed.weights))
    write_text(place / CARD, card)
    write_atomically(place / CONFIG, lambda file: file.write(packed.config))
    return place


def load(folder: str | os.PathLike[str], *, classes: Sequence[type] = ()) -> Pair:
    """Build the pair that a folder holds, with its weights. Nothing in the folder is executed.

    The config may name the classes of the suite, a few of `torch.nn`, and those in `classes`; these are called with
    numbers, texts, tensors and each other. Sizes are checked before memory is taken. So a folder may come from anyone.

    Args:
        folder: a folder that `save` wrote, or the name of one on the hub, `"user/name"`; a local one comes first.
        classes: your own classes that the pair is built of, found by their names.

    Returns:
        The pair, in evaluation mode on the CPU.

    Raises:
        FolderError: there is no such folder, or it is broken, too large, or names a class that is not listed.
        MissingExtraError: the hub is asked for, and huggingface_hub is not installed.
    """
    roots, card = read_folder(folder, classes)
    if roots.keys() != set(ROOTS):
        raise FolderError(f"{str(folder)!r} holds {ascii(sorted(roots))[:80]}, and a pair requires {', '.join(ROOTS)}.")
    _check_roots(roots)
    return Pair(**roots, card=card)


def read_folder(folder: str | os.PathLike[str], classes: Sequence[type] = ()) -> tuple[dict[str, Any], str]:
    """What a folder holds by name, and its card.

    Args:
        folder: as in `load`.
        classes: as in `load`.

    Raises:
        FolderError, MissingExtraError: as in `load`.
    """
    files = _found(folder)
    packed = Packed(read_bytes(files[CONFIG], LARGEST_TEXT), read_bytes(files[WEIGHTS], LARGEST))
    card = read_bytes(files[CARD], LARGEST_TEXT) if os.path.lexists(files[CARD]) else b""
    return unpack(packed, classes, f"load({os.fspath(folder)!r}"), card.decode(errors="replace")


def _found(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Where each file is."""
    if not isinstance(folder, str | os.PathLike) or not isinstance(os.fspath(folder), str):
        raise FolderError(f"load requires the path of a folder, got {str(folder)[:80]!r}. Write load('my-pair').")
    place, got, write = Path(folder), "where there is none", "Check the path"
    try:
        if place.is_dir() and has_run(place) and not os.path.lexists(place / WEIGHTS):
            got, write = "the folder of a training", f"Write load_run({os.fspath(folder)!r})"
        elif place.is_dir():
            return {name: place / name for name in FILES}
    except (OSError, ValueError):  # a name that no file system takes
        pass
    if isinstance(folder, str) and re.fullmatch(HUB_NAME, folder) and not os.path.lexists(place):
        return download(folder, FILES)
    raise FolderError(f"load requires a folder that save wrote, got {str(folder)[:200]!r}, {got}. {write}.")


def _check_roots(roots: Mapping[str, Any]) -> None:
    """Refuse parts that are of another kind than their names say."""
    transform, vocabulary, table = roots["transform"], roots["vocabulary"], roots["table"]
    if transform is not None and (not callable(transform) or isinstance(transform, type | nn.Module)):
        raise FolderError(f"The folder's transform is a {type(transform).__name__}, which is none.")
    words = vocabulary is None or (
        isinstance(vocabulary, Vocabulary)
        and isinstance(vocabulary.tokens, tuple)
        and all(isinstance(token, str) for token in vocabulary.tokens)
        and vocabulary.level in ("word", "char")
    )
    if not words or not isinstance(table, Table | None):
        raise FolderError("The folder's vocabulary or table is none. Restore a copy of the folder.")


def push_to_hub(repo: str, folder: str | os.PathLike[str], *, private: bool = False) -> str:
    """Send a folder that `save` wrote to the Hugging Face hub, where `load(repo)` finds it.

    Args:
        repo: `"user/name"`; it is made where it does not exist. Log in first: huggingface-cli login.
        folder: the folder; its three files are sent, and nothing else that lies there.
        private: whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        FolderError: the folder holds no pair; the hub cannot be reached, or refuses.
        MissingExtraError: huggingface_hub is not installed.
    """
    if not isinstance(repo, str) or not re.fullmatch(HUB_NAME, repo):
        raise FolderError(f"push_to_hub requires a name 'user/name', got {str(repo)[:80]!r}.")
    if not Path(folder).is_dir() or not _is_pair(Path(folder)):
        raise FolderError(f"push_to_hub requires a folder that save wrote, got {str(folder)[:200]!r}.")
    return upload(repo, Path(folder), FILES, private)
