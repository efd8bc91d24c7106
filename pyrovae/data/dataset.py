"""The data set: three splits of named tensors, how they are held out, and what starts a likelihood."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pyrovae.errors import DataError

__all__ = ["CHUNK", "SPLIT_SEED", "Batch", "Dataset", "excerpt", "hold_out", "shuffle"]

Batch = Mapping[str, Tensor]

SPLIT_SEED = 0
CHUNK = 1024
"""Rows that are turned into floats at a time."""


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """Three splits of one data set, each a batch.

    Attributes:
        train, valid, test: named tensors with equal leading dimension; `x` has shape `(N, *D)`, `y` `(N,)`.
        name: what was passed to `load`.
        source: provenance; where the data come from and how they were split.
        classes: the names that `y` counts through, where known.
        streamed: whether the tensors are views of a memory-mapped file, of which only the batches that are
            used are read. Such a set should stay on the CPU.
        vocabulary: of sentences, what `x` counts through: `vocabulary.decode(x)`.
    """

    train: Batch
    valid: Batch
    test: Batch
    name: str
    source: str
    classes: tuple[str, ...] | None = None
    streamed: bool = False
    vocabulary: Any = None

    @property
    def splits(self) -> dict[str, Batch]:
        """The three splits by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    def to(self, device: torch.device | str) -> "Dataset":
        """The same set with every tensor on `device`; a streamed set is returned as it is."""
        if self.streamed:
            return self
        train, valid, test = ({k: v.to(device) for k, v in batch.items()} for batch in self.splits.values())
        return replace(self, train=train, valid=valid, test=test)

    def describe(self) -> str:
        """One line: sizes, shapes, dtypes, number of classes, provenance."""
        sizes = " / ".join(f"{len(batch['x']):,} {split}" for split, batch in self.splits.items())
        tensors = ", ".join(
            f"{key} {str(value.dtype).removeprefix('torch.')} {tuple(value.shape[1:])}"
            for key, value in self.train.items()
        )
        classes = f"; {len(self.classes)} classes" if self.classes else ""
        words = f"; {self.vocabulary}" if self.vocabulary else ""
        return f"{self.name}: {sizes}; {tensors}{classes}{words}; {self.source}"

    def __repr__(self) -> str:
        return f"Dataset({self.describe()})"


def excerpt(x: Tensor, numbers: int = 2**26) -> Tensor:
    """Data to start a likelihood at, `likelihood.start(excerpt(train["x"]))`: all of them, or evenly spaced ones.

    Args:
        x: `(N, *D)`; uint8 grey levels as `load` gives them (scaled to [0, 1]), or anything else, as it is.
        numbers: how many numbers to take at most, which bounds the memory.

    Raises:
        DataError: no data.
    """
    if len(x) == 0:
        raise DataError(f"an excerpt of no data: x has shape {tuple(x.shape)}; pass the training split")
    step = -(-x.numel() // numbers)
    rows = x[::step]
    return rows.to(torch.float32) / 255 if rows.dtype == torch.uint8 else rows


def shuffle(batch: Batch) -> Batch:
    """The data in another order, the same one every time."""
    order = torch.randperm(len(batch["x"]), generator=torch.Generator().manual_seed(SPLIT_SEED))
    return {key: value[order] for key, value in batch.items()}


def hold_out(pool: Batch, count: int, split: str = "valid") -> tuple[Batch, Batch]:
    """All but the last `count` data, and those, for the split of that name."""
    total = len(pool["x"])
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < total:
        raise DataError(
            f"{split} is how many of the {total:,} training data are held out, got {split}={count!r}: write "
            f"{split}={total // 10}, or {split}=0 to hold none out"
        )
    kept = total - count
    return {k: v[:kept] for k, v in pool.items()}, {k: v[kept:] for k, v in pool.items()}
