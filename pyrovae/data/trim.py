"""Padded sequences, cut at the longest of a batch."""

from dataclasses import dataclass

from pyrovae.checks import check_tensor
from pyrovae.data.dataset import Batch
from pyrovae.data.named import named_tensors
from pyrovae.errors import DataError
from pyrovae.networks.recurrent import going_on

__all__ = ["Trim"]


@dataclass(frozen=True)
class Trim:
    """A transform of padded sequences: bytes become floats, and a batch is cut at the end of its longest sequence.

    The shape then depends on the data, so train without compiling: `fit(..., compile=False)`.
    """

    def prepare(self, batch: Batch) -> Batch:
        """The `batch` itself; without `within`, all steps count as inside their sequence.

        Raises:
            ShapeError: x is not `(N, T, *event)`, or `within` is not bool `(N, T)`.
            DataError: there is no `x`; a sequence has length 0.
        """
        batch = named_tensors("Trim", batch)
        if "x" not in batch:
            raise DataError(f"Trim requires sequences 'x' (N, T, *event), got {', '.join(map(repr, batch)) or 'none'}.")
        check_tensor("x", batch["x"], "(N, T, *event)", least_dims=2, rows=1)
        within = going_on(batch["x"], batch.get("within"), ())
        if not within[:, 0].all():
            empty = (~within[:, 0]).nonzero().flatten().tolist()
            raise DataError(
                f"A sequence requires a first step, got {len(empty)} sequences of length 0, at rows {empty[:5]}. Drop "
                "them."
            )
        return {**batch, "within": within}

    def __call__(self, batch: Batch) -> Batch:
        """The `batch` with float x, cut at the end of its longest sequence."""
        longest = int(batch["within"].sum(-1).max())
        x = batch["x"][:, :longest]
        return {**batch, "x": x if x.is_floating_point() else x.float(), "within": batch["within"][:, :longest]}
