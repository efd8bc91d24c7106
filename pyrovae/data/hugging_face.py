"""`datasets.Dataset` of Hugging Face: Arrow tables, memory-mapped from its cache, as a `Source`."""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.data.arrow import ArrowColumns
from pyrovae.data.batch import Batch
from pyrovae.data.mapped import WatchedFile
from pyrovae.errors import DataError

__all__ = ["ArrowFrame", "ArrowRows", "EncodedRows", "is_arrow", "is_arrow_dict"]


def is_arrow(data: Any) -> bool:
    """Whether something is a `datasets.Dataset`; the package is not imported for the question.

    Args:
        data: anything.
    """
    package = sys.modules.get("datasets")
    return package is not None and isinstance(data, package.Dataset)


def is_arrow_dict(data: Any) -> bool:
    """Whether something is a `datasets.DatasetDict`, the splits by name.

    Args:
        data: anything.
    """
    package = sys.modules.get("datasets")
    return package is not None and isinstance(data, package.DatasetDict)


def _files(dataset: Any) -> list[WatchedFile]:
    """The files that a data set is mapped from; none for one in memory."""
    return [WatchedFile.of(Path(file["filename"])) for file in dataset.cache_files]


class ArrowRows:
    """The rows of a `datasets.Dataset`; `ArrowColumns.of` says which columns make which tensor.

    A data set with a transform of its own (`set_transform`) gives what that returns, by name.

    Args:
        dataset: the data set.

    Raises:
        DataError: a column holds neither numbers nor images.
    """

    def __init__(self, dataset: Any) -> None:
        self._files = _files(dataset)
        shown = dataset.format["columns"]
        self._columns = None
        self._dataset = dataset
        if dataset.format["type"] != "custom" and len(dataset):
            schema = dataset.select_columns(shown).data.schema if shown != dataset.column_names else dataset.data.schema
            self._columns = ArrowColumns.of(schema, "A datasets.Dataset")
            self._dataset = dataset.with_format("arrow", columns=self._columns.columns)

    def __len__(self) -> int:
        return len(self._dataset)

    def rows(self, numbers: Tensor) -> Mapping[str, Any]:
        """Some rows.

        Args:
            numbers: their numbers, increasing.

        Raises:
            DataError: a file has changed, or a cell is missing.
            ShapeError: lists or images of several sizes.
        """
        for file in self._files:
            file.check()
        chosen = self._dataset[numbers.tolist()]
        if self._columns is None:
            return {name: _stacked(name, cells) for name, cells in chosen.items()}
        found = self._columns.arrays(chosen)
        if found.get("y", np.zeros(0)).dtype.kind in "US":
            found["y"] = np.searchsorted(self._classes, found["y"])
        return found

    @cached_property
    def _classes(self) -> np.ndarray:
        """The labels that are text, sorted; their places are their numbers."""
        assert self._columns is not None
        return np.unique(np.array(self._dataset.unique(self._columns.named["y"]), dtype=str))


def _stacked(name: str, cells: Any) -> Any:
    """What a transform of a data set returned for some rows as one tensor or array."""
    if isinstance(cells, Tensor | np.ndarray):
        return cells
    try:
        if all(isinstance(cell, Tensor) for cell in cells):
            return torch.stack(list(cells))
        return np.stack([np.asarray(cell) for cell in cells])
    except (ValueError, RuntimeError) as error:
        raise DataError(
            f"A datasets.Dataset requires rows of one shape in {name!r}, got others from its transform: {error}."
        ) from error


class ArrowFrame(Mapping[Any, Any]):
    """The columns of a `datasets.Dataset` as those of a data frame; one at a time is in memory.

    Args:
        dataset: the data set.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset.column_names)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._dataset.column_names)

    def __contains__(self, name: Any) -> bool:
        return name in self._dataset.column_names

    def __getitem__(self, name: Any) -> Any:
        return self._dataset.select_columns([name]).with_format("pandas")[:][name]


class EncodedRows:
    """The rows of a `datasets.Dataset` as a `Table` encodes them, a `Source` of `x` and `mask`.

    Args:
        dataset: the data set.
        encode: from a data frame to the batch.
    """

    def __init__(self, dataset: Any, encode: Callable[[Any], Batch]) -> None:
        self._dataset, self._encode, self._files = dataset.with_format("pandas"), encode, _files(dataset)

    def __len__(self) -> int:
        return len(self._dataset)

    def rows(self, numbers: Tensor) -> Batch:
        """Some rows.

        Args:
            numbers: their numbers, increasing.

        Raises:
            DataError: a file has changed, or a value is not of its column's kind.
        """
        for file in self._files:
            file.check()
        return self._encode(self._dataset[numbers.tolist()])
