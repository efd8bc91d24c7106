"""Batches of data points of nearly equal length, so that little of them is padding."""

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_tensor

__all__ = ["ByLength"]


class ByLength:
    """Which rows each step of an epoch gets: data points of about the same length together, the steps in random order.

    Pass it to `fit(..., batches=ByLength(lengths(x), 64))`. Data points of one length are grouped anew in each epoch.

    Args:
        lengths: the length of each data point, `(N,)`.
        batch_size: data points per step; one step of an epoch may have fewer.

    Raises:
        DataError, ShapeError: the lengths are no such tensor.
        SettingError: a batch size below 1.
    """

    def __init__(self, lengths: Tensor, batch_size: int) -> None:
        self.lengths = check_tensor("lengths", lengths, "(N,)", dims=1, rows=1).cpu()
        self.batch_size = check_count("batch_size", batch_size)

    def __call__(self, generator: torch.Generator) -> list[Tensor]:
        """The rows `(B,)` of each step, drawn with the generator."""
        rows = torch.randperm(len(self.lengths), generator=generator)
        steps = rows[self.lengths[rows].argsort(stable=True)].split(self.batch_size)
        return [steps[i] for i in torch.randperm(len(steps), generator=generator)]

    def __repr__(self) -> str:
        return f"ByLength({len(self.lengths)} data points, batch_size={self.batch_size})"
