"""Draws in chunks of bounded memory."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.inference.draws.draws import Key
from pyrovae.inference.draws.form import Forms
from pyrovae.inference.pair.running import chunk_sizes

__all__ = ["Draw", "Plan", "Values"]

Values = dict[Key, Tensor]  # draws of a chunk, each (S, B, *plates, *event), with B = 1 outside the plate "data"


Draw = Callable[[Batch, int, int, Values], Values]


class Plan(NamedTuple):
    """Draws of a chunk of `rows` data, `draws` at a time; `proposals` to choose from where draws are corrected."""

    num_samples: int
    proposals: int
    rows: int
    draws: int

    @classmethod
    def of(cls, num_samples: int, proposals: int, first: Batch, busy: Forms, kept: Forms, memory: int) -> "Plan":
        """Chunks by memory: a draw takes the `busy` sites' numbers, a datum those of `first`, and what is `kept`."""
        rows, draws = chunk_sizes(_numbers(busy), proposals or num_samples, memory)
        rows = min(rows, chunk_sizes(first, 1, memory)[0])
        if proposals:
            rows = min(rows, chunk_sizes(_numbers(kept), num_samples, memory)[0])
        return cls(num_samples, proposals, rows, draws)

    def parts(self, total: int) -> Iterator[slice]:
        """So many draws, part by part."""
        return (slice(done, min(done + self.draws, total)) for done in range(0, total, self.draws))


def _numbers(forms: Forms) -> Batch:
    """Tensors of the forms' sizes that hold nothing."""
    shapes = {name: (1, *form.plates.values(), *form.event) for name, form in forms.items()}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
