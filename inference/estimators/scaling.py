"""The columns of a table of numbers as a detector sees them: reals on one scale, and few values as categories."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pyrovae.data.standardize import column_scales
from pyrovae.models import Likelihood, likelihoods

__all__ = ["FEW", "ColumnScaling"]

FEW = 20
"""A column with at most so many different values has a probability for each of them in place of a density."""

_NORMAL_IQR = 1.349
"""The distance between the quartiles of a normal of scale 1."""


@dataclass(frozen=True)
class ColumnScaling:
    """How a detector scales the columns of a table of numbers, by what the training rows hold.

    A real column becomes asinh((x - center) / width), standardised, where center is its median and width that of its
    quartiles. This is about linear near the median and a logarithm far from it, so a few large values do not set the
    scale of all others.

    A column of at most `FEW` values becomes the place of its value, from 0, and any other value gets the place after
    the last.

    Attributes:
        center, width: of the columns, `(D,)`.
        mean, scale: of the columns after asinh, `(D,)`.
        values: the values of each column, none for a real one.
        order: the columns in the order of the pair, `(D,)`: reals, then columns of up to two values, then the others.
    """

    center: np.ndarray
    width: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    values: tuple[np.ndarray, ...]
    order: np.ndarray

    @classmethod
    def of(cls, table: np.ndarray, few: int = FEW) -> Self:
        """The scaling of the columns of training rows.

        Args:
            table: finite numbers, `(N, D)`.
            few: the most values of a column of few values.
        """
        found = [np.unique(column) for column in table.T]
        values = tuple(column if len(column) <= few else column[:0] for column in found)
        center, width = np.median(table, 0), np.subtract(*np.quantile(table, (0.75, 0.25), axis=0)) / _NORMAL_IQR
        _, spread = column_scales(table)
        width = np.where(width > 1e-3 * spread, width, spread)
        mean, scale = column_scales(np.arcsinh((table - center) / width))
        blocks = [0 if len(column) == 0 else 1 if len(column) <= 2 else 2 for column in values]
        order = np.argsort(blocks, kind="stable")
        return cls(center, width, mean, scale, values, order)

    @property
    def has_categories(self) -> bool:
        """Whether a column is one of few values."""
        return any(len(column) for column in self.values)

    def __call__(self, table: np.ndarray) -> np.ndarray:
        """Rows as the pair takes them, `(N, D)`, their columns in `order`.

        Args:
            table: finite numbers, `(N, D)`.
        """
        scaled = (np.arcsinh((table - self.center) / self.width) - self.mean) / self.scale
        for place, values in enumerate(self.values):
            if len(values):
                at = np.searchsorted(values, table[:, place]).clip(max=len(values) - 1)
                scaled[:, place] = np.where(values[at] == table[:, place], at, len(values))
        return scaled[:, self.order]

    def restored(self, entries: np.ndarray) -> np.ndarray:
        """Numbers of the columns, `(N, D)`, from `order` to the order of the table.

        Args:
            entries: one number for each entry of a row of the pair.
        """
        return entries[:, np.argsort(self.order)]

    def likelihood(self) -> Likelihood:
        """p(x | z) of a row: normal with a scale for each real column, and categorical for the others."""
        counts = [len(values) for values in self.values]
        few = [count for count in counts if count > 2]
        blocks: dict[str, Likelihood] = {}
        if reals := counts.count(0):
            blocks["reals"] = likelihoods.Normal(reals, "each")
        if two := len(counts) - reals - len(few):
            blocks["two values"] = likelihoods.Categorical(two, 3)
        if few:
            blocks["few values"] = likelihoods.Categorical(len(few), max(few) + 1)
        return likelihoods.Heterogeneous(blocks)
