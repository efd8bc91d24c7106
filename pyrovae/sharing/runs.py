"""A training, read from its run folder: the pair with its weights, its data, and its history."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pyrovae import data
from pyrovae.blueprint import ARGUMENT, Names, check_entries, header, read_bytes, read_config, rebuild, shapes_only
from pyrovae.blueprint import to_tensors as tensors_of
from pyrovae.data.origin import digest
from pyrovae.errors import CheckpointError, FolderError, PyrovaeError
from pyrovae.inference.training import checkpoint
from pyrovae.inference.training.history import History
from pyrovae.inference.training.pair_weights import check_finite_weights, check_same_architecture, restore
from pyrovae.inference.training.run_pair import DATA, FORMAT, PAIR, TENSORS, VERSION
from pyrovae.inference.training.training_state import history_of
from pyrovae.sharing.folder import WEIGHTS

__all__ = ["Run", "load_run"]

LARGEST_TEXT, LARGEST_TENSORS = 2**24, 2**31

LOADED = {"name": str, "root": str, "valid": int, "test": int, "size": int | list, "level": str, "max_bytes": int}
"""The arguments of `data.load` that a run names, and the type of each where it is not None."""


@dataclass(frozen=True, eq=False)
class Run:
    """A training that was read from its run folder; the pair is in evaluation mode on the CPU.

    Attributes:
        model, guide: the pair, with the weights that the training ended with.
        data: the data set that it was trained on, as `fit` got it; None where it is not found again.
        transform: what training applied to a batch.
        history: the history of the training.
        note: why there are no data; empty where there are.
    """

    model: Any
    guide: Any
    data: data.Dataset | None
    transform: Any
    history: History
    note: str = ""


def load_run(run: str | os.PathLike[str], *, classes: Sequence[type] = ()) -> Run:
    """Build the pair of a run folder, with the weights that its training ended with, and find its data.

    `fit(..., run=...)` recorded how the pair was built and what `data.load` was given. Nothing in the folder is
    executed; data are read from where it says, and used only if they are those of the training.

    Args:
        run: the run folder.
        classes: your own classes that the pair is built of, found by their names.

    Returns:
        The pair, its data, transform and history.

    Raises:
        CheckpointError: there is no run, or its checkpoint is broken or of another pair.
        FolderError: the pair could not be recorded, the record is broken, or names a class that is not listed.
    """
    folder = Path(run)
    if not checkpoint.has_run(folder):
        saved = (folder / WEIGHTS).is_file()
        write = f"It holds a pair that save wrote: write load({str(folder)!r})" if saved else "Write fit(..., run=...)"
        raise CheckpointError(f"load_run requires the folder of a training, got {str(folder)!r}. {write}.")
    content, tensors = _content(folder)
    entries, names = content["pair"], Names(classes, f"load_run({str(folder)!r}")
    state = checkpoint.load(folder / "checkpoint.pt")
    weights = checkpoint.ending(state)
    arguments = {name: tensor for name, tensor in tensors.items() if name.startswith(ARGUMENT)}
    with shapes_only(4 * _count(weights) + 1000):
        built = rebuild(entries, arguments, names)
    check_same_architecture(built["model"], built["guide"], weights)
    roots = rebuild(entries, arguments, names)
    check_finite_weights(roots["model"], roots["guide"], weights)
    restore(roots["model"], roots["guide"], weights)
    found, note = _data(content["data"], tensors, roots["vocabulary"])
    return Run(roots["model"], roots["guide"], found, roots["transform"], history_of(state), note)


def _content(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `pair.json` and `pair.safetensors` hold."""
    if not os.path.lexists(folder / PAIR):
        raise FolderError(
            f"{str(folder)!r} has no {PAIR}: an older pyrovae trained it. Build the pair, and write "
            f"load_weights(model, guide, {str(folder)!r})."
        )
    content = read_config(read_bytes(folder / PAIR, LARGEST_TEXT), PAIR)
    kinds = {"format": str, "version": int, "why": str, "data": dict, "pair": dict | None}
    right = content.keys() == kinds.keys() and all(isinstance(content[name], kind) for name, kind in kinds.items())
    if not right or content["format"] != FORMAT or content["version"] != VERSION:
        raise FolderError(f"{PAIR} is broken, or of another version. Restore a copy, or train again.")
    if content["pair"] is None:
        raise FolderError(
            f"The pair of this run could not be recorded: {content['why'][:1000]} Or build it yourself, and write "
            f"load_weights(model, guide, {str(folder)!r})."
        )
    check_entries(content["pair"])
    if content["pair"]["roots"].keys() != {"model", "guide", "transform", "vocabulary"}:
        raise FolderError(f"{PAIR} is broken: it names other parts than a model, a guide, a transform, a vocabulary.")
    if not os.path.lexists(folder / TENSORS):
        return content, {}
    whole = read_bytes(folder / TENSORS, LARGEST_TENSORS)
    header(whole)
    return content, tensors_of(whole)


def _count(weights: Any) -> int:
    """The number of tensors among the weights, which anyone may have written."""
    states = weights.get("modules") if isinstance(weights, dict) else None
    return sum(len(state) for state in states if isinstance(state, dict)) if isinstance(states, list) else 0


def _data(entries: Mapping[str, Any], tensors: Mapping[str, Tensor], words: Any) -> tuple[data.Dataset | None, str]:
    """The data set, or the reason why there is none."""
    if "stored" in entries:
        return _stored(entries["stored"], tensors, words)
    if "load" not in entries:
        return None, str(entries.get("why", "the run does not say which data it was trained on"))[:500]
    try:
        given = _arguments(entries["load"])
        found = data.load(**given)
    except PyrovaeError as error:
        return None, f"the data are not found: {error}"
    if digest(found.splits, found.streamed) != entries.get("digest"):
        return None, f"the data {given['name']!r} are others than those of the training"
    return found, ""


def _arguments(given: Any) -> dict[str, Any]:
    """The arguments of `data.load` in a file that anyone wrote; it checks their values itself."""
    if not isinstance(given, dict) or given.keys() != LOADED.keys():
        raise FolderError(f"{PAIR} is broken: it requires the arguments of data.load.")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, LOADED[name] | None):
            raise FolderError(f"{PAIR} is broken: the argument {name} of data.load.")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _stored(entries: Any, tensors: Mapping[str, Tensor], words: Any) -> tuple[data.Dataset | None, str]:
    if not isinstance(entries, dict) or entries.keys() != {"name", "source", "classes"}:
        return None, f"{PAIR} is broken: it requires name, source and classes of the data"
    splits: dict[str, dict[str, Tensor]] = {"train": {}, "valid": {}, "test": {}}
    for key, tensor in tensors.items():
        _, _, place = key.partition(DATA)
        split, _, name = place.partition(".")
        if key.startswith(DATA) and split in splits and name:
            splits[split][name] = tensor
    classes = entries["classes"]
    named = tuple(map(str, classes)) if isinstance(classes, list) else None
    train, valid, test = splits.values()
    name, source = str(entries["name"]), str(entries["source"])
    return data.Dataset(train, valid, test, name, source, classes=named, vocabulary=words), ""
