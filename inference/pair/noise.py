"""Random transforms of data: the noise belongs to a seed and a row, whatever the chunk in which the row is placed."""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import ShapeError
from pyrovae.inference.pair.contract import batch_size
from pyrovae.inference.pair.running import Transform, placed, seeded

__all__ = ["draws", "placed_by_seed"]

BLOCK = 64
"""Rows that are transformed together, from a seed of their own."""


def draws(transform: Callable[[], Batch], device: torch.device) -> tuple[Batch, bool]:
    """What a transform returns, and whether it drew random numbers of torch.

    Args:
        transform: the transform, with its batch bound.
        device: the device of the batch; a GPU has a generator of its own.
    """
    before = _states(device)
    batch = transform()
    return batch, any(not torch.equal(old, new) for old, new in zip(before, _states(device), strict=True))


def _states(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])


def placed_by_seed(
    data: Batch, transform: Transform | None, device: torch.device, rows: slice | Tensor, seed: int
) -> Batch:
    """`placed`, where the random numbers of the transform depend on the seed and the row alone.

    Args:
        data, transform, device, rows: as in `placed`.
        seed: the seed; numbers drawn under `seeded(seed, device)` are independent of those drawn here.

    Raises:
        ShapeError: the transform returns other shapes for other rows.
    """
    size = batch_size(data)
    index = rows.cpu() % size if isinstance(rows, Tensor) else torch.arange(*rows.indices(size))
    blocks, at = torch.unique(index // BLOCK, return_inverse=True)
    parts = []
    for block in blocks.tolist():
        with seeded(_seed(seed, block), device):
            parts.append(placed(data, transform, device, slice(block * BLOCK, (block + 1) * BLOCK)))
    where = (at * BLOCK + index % BLOCK).to(device)
    shapes = {name: sorted({tuple(part[name].shape[1:]) for part in parts}) for name in (parts[0] if parts else {})}
    uneven = {name: found for name, found in shapes.items() if len(found) > 1}
    if uneven:
        raise ShapeError(
            f"A transform that draws random numbers requires the same event shapes for all rows, got {uneven}. "
            "Transform the data once, before the evaluation."
        )
    return {name: torch.cat([part[name] for part in parts])[where] for name in shapes}


def _seed(seed: int, block: int) -> int:
    """A seed of a block's own, far from the seeds that people choose."""
    return int.from_bytes(hashlib.sha256(f"{seed} {block}".encode()).digest()[:4], "big")
