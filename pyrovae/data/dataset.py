"""A data set: three splits of named tensors, and how data points are held out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_tensor
from pyrovae.data.batch import Batch
from pyrovae.data.origin import Origin
from pyrovae.display import Cells
from pyrovae.errors import DataError

__all__ = ["SPLIT_SEED", "Batch", "Dataset", "excerpt", "first", "hold_out", "shuffle"]

SPLIT_SEED = 0
"""The seed of every shuffle before a split, so that a data set is split the same way every time."""


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """Three splits of one data set, each a batch, or data larger than memory.

    Attributes:
        train, valid, test: named tensors with equal leading dimension; `x` has shape `(N, *D)`, `y` has shape `(N,)`.
            Or a `Source`, or a `datasets.Dataset`.
        name: what was passed to `load`.
        source: where the data come from and how they were split.
        classes: the names of the labels 0, 1, ... in `y`, where known.
        streamed: whether the tensors are views of a memory-mapped file. Then only the batches that are used are read,
            and the tensors should stay on the CPU.
        vocabulary: for sentences, the `Vocabulary` that decodes `x`: `vocabulary.decode(x)`; for bags of words, the one
            whose `words` are the columns of `x`.
        origin: what `load` was given, by which a run folder finds the set again; None for a set of one's own.
    """

    train: Any
    valid: Any
    test: Any
    name: str
    source: str
    classes: tuple[str, ...] | None = None
    streamed: bool = False
    vocabulary: Any = None
    origin: Origin | None = None

    @property
    def splits(self) -> dict[str, Any]:
        """The three splits by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    def to(self, device: torch.device | str) -> "Dataset":
        """The same set with every tensor on `device`; what is streamed, and sources, stay as they are."""
        if self.streamed:
            return self
        train, valid, test = (
            {k: v.to(device) for k, v in batch.items()} if isinstance(batch, Mapping) else batch
            for batch in self.splits.values()
        )
        return replace(self, train=train, valid=valid, test=test)

    def describe(self) -> str:
        """One line: sizes, shapes, dtypes, number of classes, source."""
        counts = {split: _count(batch) for split, batch in self.splits.items()}
        sizes = " / ".join(f"{count:,} {split}" for split, count in counts.items())
        tensors = ", ".join(f"{key} {_shape(value)}" for key, value in _tensors(self.train).items())
        tensors = tensors or f"a {type(self.train).__name__}"
        classes = f"; {len(self.classes)} classes" if self.classes else ""
        words = f"; {self.vocabulary}" if self.vocabulary else ""
        return f"{self.name}: {sizes}; {tensors}{classes}{words}; {self.source}"

    def __repr__(self) -> str:
        return f"Dataset({self.describe()})"

    def _repr_html_(self) -> str:
        rows = [
            (split, f"{_count(batch):,}", *(_shape(_tensors(batch).get(name)) for name in _tensors(self.train)))
            for split, batch in self.splits.items()
        ]
        words = tuple(range(2, 2 + len(_tensors(self.train))))
        return Cells(
            rows, ("split", "data points", *_tensors(self.train)), [self.name], [self.source], (0, *words)
        ).html()


def _count(split: Any) -> int:
    """The number of data points of a split."""
    return len(next(iter(split.values()), ())) if isinstance(split, Mapping) else len(split)


def _tensors(split: Any) -> Batch:
    """The tensors of a split; none of a source, which is not read for a description."""
    return split if isinstance(split, Mapping) else {}


def _shape(tensor: Tensor | None) -> str:
    """The type and the shape of one data point's tensor."""
    return "" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape[1:])}"


def excerpt(x: Tensor, numbers: int = 2**26) -> Tensor:
    """Data points at which a likelihood starts, `likelihood.start(excerpt(train["x"]))`: all, or evenly spaced ones.

    Args:
        x: `(N, *D)`. uint8 grey levels, as `load` gives them, are scaled to [0, 1]; anything else stays as it is.
        numbers: how many numbers the excerpt has at most, which bounds the memory.

    Raises:
        DataError: there is no data point.
        SettingError: `numbers` is below 1.
        ShapeError: x has no leading dimension.
    """
    x, numbers = check_tensor("x", x, "(N, *D)", least_dims=1), check_count("numbers", numbers)
    if x.numel() == 0:
        raise DataError(f"An excerpt requires data points, got x of shape {tuple(x.shape)}. Pass the training split.")
    step = -(-x.numel() // numbers)
    rows = x[::step]
    return rows.to(torch.float32) / 255 if rows.dtype == torch.uint8 else rows


def first(batch: Batch, count: int | None) -> Batch:
    """The first data points of a validation split; None for all.

    Args:
        batch: named tensors.
        count: how many.

    Raises:
        DataError: there are not so many.
    """
    total = len(batch["x"])
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= total):
        raise DataError(f"valid is how many of {total:,} validation data points are kept, got valid={count!r}.")
    return {name: tensor[:count] for name, tensor in batch.items()}


def shuffle(batch: Batch) -> Batch:
    """The data points of a `batch` in a random order, the same one every time."""
    order = torch.randperm(len(batch["x"]), generator=torch.Generator().manual_seed(SPLIT_SEED))
    return {key: value[order] for key, value in batch.items()}


def hold_out(pool: Batch, count: int, split: str = "valid") -> tuple[Batch, Batch]:
    """All data points but the last `count`, and those.

    Args:
        pool: the data points to split.
        count: how many are held out.
        split: the split that they are for, `valid` or `test`; the error names it.

    Raises:
        DataError: `count` is no integer from 0 to the size of the pool less one.
    """
    total = len(pool["x"])
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < total:
        raise DataError(
            f"{split} is how many of the {total:,} training data points are held out, got {split}={count!r}. Write "
            f"{split}={total // 10}, or {split}=0 to hold none out."
        )
    kept = total - count
    return {k: v[:kept] for k, v in pool.items()}, {k: v[kept:] for k, v in pool.items()}
