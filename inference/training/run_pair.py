"""What a run folder says about its pair: how to build it and find its data again, without the training script."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from pyrovae.blueprint import CODES, describe, json_text, to_bytes
from pyrovae.data import Dataset
from pyrovae.data.origin import digest
from pyrovae.data.streams import is_stream
from pyrovae.errors import FolderError
from pyrovae.output import write_atomically, write_text

__all__ = ["DATA", "FORMAT", "PAIR", "TENSORS", "VERSION", "write_pair"]

PAIR, TENSORS = "pair.json", "pair.safetensors"
"""The description, and the tensors that belong to it: arguments of constructors, and changed data."""

FORMAT, VERSION = "pyrovae-run", 1

DATA = "data."
"""What the names of tensors start with that are data."""

STORED = 2**26
"""A data set that was changed after it was loaded is stored up to so many bytes."""


class Found(NamedTuple):
    """How to find data again.

    Attributes:
        entries: for JSON.
        tensors: by name; empty where `data.load` finds them.
    """

    entries: dict[str, Any]
    tensors: dict[str, Tensor]


def write_pair(folder: Path, model: Any, guide: Any, data: Any, transform: Any) -> None:
    """Write `pair.json`, and `pair.safetensors` where the pair or its data need tensors.

    A pair that cannot be described has the reason there. Data that `data.load` gave are named, and stored if they were
    changed afterwards; tensors that never came from there are neither.

    Args:
        folder: the run folder.
        model, guide: the pair.
        data: what `fit` was given.
        transform: applied to each batch.

    Raises:
        OutputError: the folder cannot be written.
    """
    entries, arguments, why = _described(model, guide, transform, getattr(data, "vocabulary", None))
    what = "a stream" if is_stream(data) else "tensors"
    found = _found(data) if isinstance(data, Dataset) else Found({"why": f"fit was given {what}, no Dataset"}, {})
    content = {"format": FORMAT, "version": VERSION, "why": why, "data": found.entries, "pair": entries}
    tensors = {**arguments, **found.tensors}
    if tensors:
        write_atomically(folder / TENSORS, lambda file: file.write(to_bytes(tensors)))
    else:
        (folder / TENSORS).unlink(missing_ok=True)
    write_text(folder / PAIR, json_text(content))


def _described(
    model: Any, guide: Any, transform: Any, vocabulary: Any
) -> tuple[dict[str, Any] | None, dict[str, Tensor], str]:
    """Entries and tensors of the pair, or the reason why there are none."""
    try:
        found = describe({"model": model, "guide": guide, "transform": transform, "vocabulary": vocabulary})
    except FolderError as error:
        return None, {}, str(error)
    return found.entries, found.arguments, ""


def _found(data: Dataset) -> Found:
    if data.origin is None:
        return Found({"why": "the data set did not come from pyrovae.data.load"}, {})
    if any(not isinstance(batch, Mapping) for batch in data.splits.values()):
        return Found({"why": "the data set has splits that are sources"}, {})
    if digest(data.splits, data.streamed) == data.origin.digest:
        return Found({"load": dict(data.origin.arguments), "digest": data.origin.digest}, {})
    tensors = {f"{DATA}{split}.{name}": t for split, batch in data.splits.items() for name, t in batch.items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > STORED or any(tensor.dtype not in CODES for tensor in tensors.values()):
        return Found({"why": f"the data set was changed after it was loaded, and has {size:,} bytes"}, {})
    classes = None if data.classes is None else list(data.classes)
    return Found({"stored": {"name": data.name, "source": data.source, "classes": classes}}, tensors)
