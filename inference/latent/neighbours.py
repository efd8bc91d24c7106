"""The nearest neighbours of a code."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_tensor
from pyrovae.display import Cells, Shown, shortened
from pyrovae.errors import ShapeError

__all__ = ["Neighbours", "neighbours"]


CELLS = 2**24  # distances in memory at once


@dataclass(frozen=True, repr=False)
class Neighbours(Shown):
    """The k codes nearest to each query, the nearest first.

    Attributes:
        rows: their rows in the set of codes, `(Q, k)`.
        distance: their Euclidean distances, `(Q, k)`.
    """

    rows: Tensor
    distance: Tensor

    def cells(self) -> Cells:
        rows = [
            (str(query), str(row), f"{distance:.4f}")
            for query, both in enumerate(zip(self.rows.tolist(), self.distance.tolist(), strict=True))
            for row, distance in zip(*both, strict=True)
        ]
        shown, more = shortened(rows)
        return Cells(shown, ("query", "row", "distance"), after=more)


def neighbours(z: Tensor, query: Tensor, k: int = 5) -> Neighbours:
    """The exact nearest neighbours by Euclidean distance. A code of the set is its own nearest neighbour.

    Args:
        z: the set of codes, `(N, *event)`.
        query: the codes whose neighbours are returned, `(Q, *event)`.
        k: the number of neighbours.

    Raises:
        DataError: NaN or infinities among the codes.
        SettingError: k is no whole number of at least 1.
        ShapeError: the shapes of codes and queries differ, or there are fewer than k codes.
    """
    k = check_count("k", k, write=5)
    z, query = (
        check_tensor("z", z, "(N, *event)", least_dims=1, finite=True),
        check_tensor("query", query, "(Q, *event)", least_dims=1, finite=True),
    )
    if z.shape[1:] != query.shape[1:] or k > len(z):
        raise ShapeError(
            f"neighbours requires at least k codes and queries of their shape, got k = {k}, codes {tuple(z.shape)}, "
            f"queries {tuple(query.shape)}. Write neighbours(z, z[:1], k=5)."
        )
    rows, flat = max(1, CELLS // len(z)), z.reshape(len(z), -1)
    flat = flat.double() if torch.float64 in (z.dtype, query.dtype) else flat.float()
    found = []
    for part in query.reshape(len(query), flat.shape[1]).split(rows):
        # Without matrix products, whose rounding puts a code at a distance from itself.
        distance = torch.cdist(part.to(flat), flat, compute_mode="donot_use_mm_for_euclid_dist")
        found.append(distance.topk(k, largest=False))
    return Neighbours(torch.cat([best.indices for best in found]), torch.cat([best.values for best in found]))
