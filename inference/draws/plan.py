"""How draws are split into chunks of bounded memory."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.inference.draws.draws import Key
from pyrovae.inference.draws.form import Forms
from pyrovae.inference.pair.running import chunk_sizes

__all__ = ["Draw", "Plan", "Values"]

Values = dict[Key, Tensor]
"""The draws of a chunk, `(S, B, *plates, *event)` each, with B = 1 outside the plate "data"."""

Draw = Callable[[Batch, int, int, Values], Values]
"""A function that draws: from a batch, B, S, and the values of latents outside the plate "data", to the draws."""


class Plan(NamedTuple):
    """The chunks of draws: `rows` data points at a time, and for them `draws` draws at a time.

    Attributes:
        num_samples: S, the draws of each data point in the result.
        proposals: from how many draws these are chosen where they are corrected; 0 where they are not.
        rows: the data points of a chunk.
        draws: the draws of each of them in a chunk.
    """

    num_samples: int
    proposals: int
    rows: int
    draws: int

    @classmethod
    def of(cls, num_samples: int, proposals: int, first: Batch, busy: Forms, kept: Forms, memory: int) -> "Plan":
        """The chunks that fit into memory.

        Args:
            num_samples: S.
            proposals: from how many draws these are chosen; 0 for plain draws.
            first: a batch, which tells how many numbers a data point has.
            busy: the forms of the sites that take memory while a chunk is drawn.
            kept: the forms of the sites whose S draws are kept until all proposals were seen.
            memory: about how many bytes a chunk may take.
        """
        rows, draws = chunk_sizes(_numbers(busy), proposals or num_samples, memory)
        rows = min(rows, chunk_sizes(first, 1, memory)[0])
        if proposals:
            rows = min(rows, chunk_sizes(_numbers(kept), num_samples, memory)[0])
        return cls(num_samples, proposals, rows, draws)

    def parts(self, total: int) -> Iterator[slice]:
        """The draws of a data point, part by part.

        Args:
            total: how many draws there are.
        """
        return (slice(done, min(done + self.draws, total)) for done in range(0, total, self.draws))


def _numbers(forms: Forms) -> Batch:
    """Tensors of the forms' sizes that hold nothing."""
    shapes = {name: (1, *form.plates.values(), *form.event) for name, form in forms.items()}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
