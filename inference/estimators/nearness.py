"""How near synthetic rows lie to the rows that were learned from, beside rows that were not."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyrovae.data import Batch, Table
from pyrovae.display import Cells, Shown

__all__ = ["Nearness", "nearness"]

NEAREST = 0.05
"""The share of held-out rows that are called near."""

_ROWS = 256


@dataclass(frozen=True, repr=False)
class Nearness(Shown):
    """Distances to the nearest training row, of synthetic rows and of held-out rows of the same source.

    The distance of two rows is the mean over columns: of numbers, the difference in standard deviations; of categories
    and of gaps, 1 where they differ; of ordinals, the share of their range. A synthesizer that copies its training rows
    has synthetic rows that are nearer than held-out ones. That they are not nearer proves no privacy: a single rare row
    may still be revealed.

    Attributes:
        synthetic: the distance of each synthetic row to its nearest training row, `(S,)`.
        held_out: the same of each held-out row, `(M,)`.
    """

    synthetic: np.ndarray
    held_out: np.ndarray

    @property
    def copies(self) -> tuple[float, float]:
        """The shares of synthetic and of held-out rows that equal a training row."""
        return float((self.synthetic == 0).mean()), float((self.held_out == 0).mean())

    @property
    def near(self) -> float:
        """The share of synthetic rows that are nearer than all but 5 % of the held-out rows; 5 % if they are alike."""
        return float((self.synthetic < np.quantile(self.held_out, NEAREST)).mean())

    def cells(self) -> Cells:
        rows = [
            ("median distance", f"{np.median(self.synthetic):.3g}", f"{np.median(self.held_out):.3g}"),
            ("copies of a training row", *(f"{100 * share:.1f} %" for share in self.copies)),
            ("nearer than 95 % of held-out rows", f"{100 * self.near:.1f} %", f"{100 * NEAREST:.0f} %"),
        ]
        return Cells(rows, ("distance to the nearest training row", "synthetic", "held out"))


def nearness(table: Table, train: Batch, held_out: Batch, synthetic: Batch) -> Nearness:
    """The distances of synthetic and held-out rows to their nearest training rows.

    Args:
        table: the kinds of the columns.
        train, held_out, synthetic: rows, as `table.encode` gives them.
    """
    anchors = _coordinates(table, train, train)
    return Nearness(*(_nearest(_coordinates(table, rows, train), anchors) for rows in (synthetic, held_out)))


def _coordinates(table: Table, rows: Batch, train: Batch) -> Tensor:
    """Rows as points whose L1 distance is the distance of rows, `(N, K)`."""
    parts = []
    for place, column in enumerate(table.columns):
        value, seen = rows["x"][:, place].double(), rows["mask"][:, place].double()
        if column.kind == "category":
            labels = torch.arange(max(len(column.values), 1))
            point = (value[:, None] == labels).double() / 2
        else:
            known = train["x"][:, place][train["mask"][:, place]].double()
            spread = len(column.values) - 1 if column.values else known.std(correction=0).item()
            point = (value / (spread or 1.0))[:, None]
        parts.append(torch.cat([point * seen[:, None], 1 - seen[:, None]], 1))
    return torch.cat(parts, 1) / len(table.columns)


def _nearest(rows: Tensor, anchors: Tensor) -> np.ndarray:
    return torch.cat([torch.cdist(part, anchors, p=1).min(1).values for part in rows.split(_ROWS)]).numpy()
