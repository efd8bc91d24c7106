"""The columns of a table of numbers as a detector sees them: reals on one scale, and few values as categories."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pyrovae.data.standardize import column_scales
from pyrovae.models import Likelihood, likelihoods

__all__ = ["FEW", "ColumnScaling"]

FEW = 20
"""A column with at most so many different values has a probability for each of them in place of a density."""


@dataclass(frozen=True)
class ColumnScaling:
    """How a detector scales the columns of a table of numbers, by what the training rows hold.

    A real column becomes (x - mean) / scale.

    A column of at most `FEW` values becomes the place of its value, from 0, and any other value gets the place after
    the last.

    Attributes:
        mean, scale: of the columns, `(D,)`; 1 is the scale of a constant one.
        values: the values of each column, none for a real one.
        order: the columns in the order of the pair, `(D,)`: reals, then columns of up to two values, then the others.
    """

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
        blocks = [0 if len(column) == 0 else 1 if len(column) <= 2 else 2 for column in values]
        order = np.argsort(blocks, kind="stable")
        return cls(*column_scales(table), values, order)

    @property
    def num_reals(self) -> int:
        """The number of real columns, which come first in `order`."""
        return sum(len(column) == 0 for column in self.values)

    @property
    def has_categories(self) -> bool:
        """Whether a column is one of few values."""
        return self.num_reals < len(self.values)

    def __call__(self, table: np.ndarray) -> np.ndarray:
        """Rows as the pair takes them, `(N, D)`, their columns in `order`.

        Args:
            table: finite numbers, `(N, D)`.
        """
        scaled = (table - self.mean) / self.scale
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

    def likelihood(self, *, trained: bool) -> Likelihood:
        """p(x | z) of a row: normal with a scale for each real column, and categorical for the others.

        Args:
            trained: whether training follows. If not, categories have their marginals, whatever z is.
        """
        reals, counts = self.num_reals, [len(values) for values in self.values]
        few = [count for count in counts if count > 2]
        blocks: dict[str, Likelihood] = {}
        if two := len(counts) - reals - len(few):
            blocks["two values"] = likelihoods.Categorical(two, 3)
        if few:
            blocks["few values"] = likelihoods.Categorical(len(few), max(few) + 1)
        if not trained:
            blocks = {name: likelihoods.Marginal(block) for name, block in blocks.items()}
        if reals:
            blocks = {"reals": likelihoods.Normal(reals, "each"), **blocks}
        return likelihoods.Heterogeneous(blocks)
