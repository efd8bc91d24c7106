"""Neighbours."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.errors import ShapeError

__all__ = ["Neighbours", "neighbours"]


CELLS = 2**24  # distances at once


class Neighbours(NamedTuple):
    """The k codes nearest to each query, the nearest first: their rows and distances, both `(Q, k)`."""

    rows: Tensor
    distance: Tensor


def neighbours(z: Tensor, query: Tensor, k: int = 5) -> Neighbours:
    """The exact nearest neighbours of `query`, `(Q, *event)`, among codes `z`, `(N, *event)`, by Euclidean distance.

    A datum of the set is its own nearest neighbour.

    Raises:
        ShapeError: codes of other shapes, or fewer than k of them.
    """
    if z.shape[1:] != query.shape[1:] or not 1 <= k <= len(z):
        raise ShapeError(
            f"neighbours wants k codes at least and queries of their shape, got k = {k}, codes {tuple(z.shape)}, "
            f"queries {tuple(query.shape)}. Write neighbours(z, z[:1], k=5)."
        )
    rows = max(1, CELLS // len(z))
    found = []
    for part in query.flatten(1).split(rows):
        # Not by matrix products, whose rounding puts a code at a distance from itself.
        distance = torch.cdist(part, z.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
        found.append(distance.topk(k, largest=False))
    return Neighbours(torch.cat([best.indices for best in found]), torch.cat([best.values for best in found]))
