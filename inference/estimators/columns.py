"""The columns of a table in a pair: a likelihood for each, and the features that an encoder sees."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pyrovae.data.table import Column, Table
from pyrovae.models import Likelihood, likelihoods
from pyrovae.networks.joint import one_hot

__all__ = ["Features", "table_likelihood"]

_LIKELIHOODS: dict[str, Callable[[int], Likelihood]] = {
    "real": lambda _: likelihoods.Normal(1),
    "positive": lambda _: likelihoods.LogNormal(1),
    "count": lambda _: likelihoods.NegativeBinomial(1),
    "ordinal": lambda values: likelihoods.Ordinal(1, max(values, 2)),
    "category": lambda values: likelihoods.Categorical(1, max(values, 2)),
}
"""From the number of values of a column to its likelihood, by the kind of the column."""


def table_likelihood(table: Table) -> likelihoods.Heterogeneous:
    """p(x | z) of a row of a table: a likelihood for each column, by its kind.

    Args:
        table: the kinds of the columns.
    """
    return likelihoods.Heterogeneous(
        {str(column.name): _LIKELIHOODS[column.kind](len(column.values)) for column in table.columns}
    )


class Features(nn.Module):
    """What an encoder sees of a row: x and its mask, `(*, 2 D)`, as features `(*, size)`.

    Real numbers stay as they are. Positive numbers become their logarithm, and counts the logarithm of the count plus
    one, both standardised by the training data. Ordinals are scaled to [0, 1], and categories are one-hot. A missing
    entry is 0, and the mask is appended.

    Args:
        table: the kinds of the columns.
        x, mask: the training data, `(N, D)`.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, table: Table, x: Tensor, mask: Tensor) -> None:
        super().__init__()
        self.columns = table.columns
        self.size = 2 * len(self.columns) + sum(max(0, len(c.values) - 1) for c in self.columns if _is_category(c))
        self.register_buffer("loc", torch.zeros(x.shape[1]))
        self.register_buffer("scale", torch.ones(x.shape[1]))
        for place, column in enumerate(self.columns):
            if column.kind in ("positive", "count"):
                seen = _logarithm(column, x[mask[:, place], place])
                self.loc[place], self.scale[place] = seen.mean(), seen.std(correction=0).clamp_min(1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """The features, `(*, size)`.

        Args:
            x: rows and their mask, `(*, 2 D)`.
        """
        x, mask = x.chunk(2, -1)
        return torch.cat([self._feature(place, x, mask) for place in range(len(self.columns))] + [mask], -1)

    def _feature(self, place: int, x: Tensor, mask: Tensor) -> Tensor:
        column, value, observed = self.columns[place], x[..., place], mask[..., place].unsqueeze(-1)
        if _is_category(column):
            return one_hot(value, max(len(column.values), 1), x.dtype) * observed
        if column.kind in ("positive", "count"):
            value = (_logarithm(column, value) - self.loc[place]) / self.scale[place]
        elif column.kind == "ordinal":
            value = value / max(len(column.values) - 1, 1)
        return value.unsqueeze(-1) * observed


def _is_category(column: Column) -> bool:
    return column.kind == "category"


def _logarithm(column: Column, value: Tensor) -> Tensor:
    return value.log1p() if column.kind == "count" else value.clamp_min(1e-30).log()
