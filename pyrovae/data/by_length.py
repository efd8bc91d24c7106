"""Batches of data of nearly equal length, so that little of them is padding."""

import torch
from torch import Tensor

__all__ = ["ByLength"]


class ByLength:
    """The rows of each step of an epoch: data of about the same length go together, the steps in random order.

    Pass it to `fit(..., batches=ByLength(lengths(x), 64))`. Which data of one length meet changes from epoch to epoch.

    Args:
        lengths: of the data, `(N,)`.
        batch_size: data per step; one step of an epoch may have fewer.
    """

    def __init__(self, lengths: Tensor, batch_size: int) -> None:
        self.lengths, self.batch_size = lengths.cpu(), batch_size

    def __call__(self, generator: torch.Generator) -> list[Tensor]:
        """Rows `(B,)` of each step, drawn with the generator."""
        rows = torch.randperm(len(self.lengths), generator=generator)
        steps = rows[self.lengths[rows].argsort(stable=True)].split(self.batch_size)
        return [steps[i] for i in torch.randperm(len(steps), generator=generator)]

    def __repr__(self) -> str:
        return f"ByLength({len(self.lengths)} data, batch_size={self.batch_size})"
