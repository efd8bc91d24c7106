"""Piano rolls: which keys sound at each step of a piece."""

import torch

from pyrovae.data.dataset import Batch
from pyrovae.errors import DataError

__all__ = ["KEYS", "LOWEST", "rolls"]

KEYS, LOWEST = 88, 21
"""The number of keys of a piano, and the MIDI number of the lowest."""


def rolls(pieces: list[list[list[int]]]) -> Batch:
    """Pieces as padded piano rolls: `x` uint8 `(N, T, 88)`, the lowest key first, and `within` bool `(N, T)`.

    Args:
        pieces: N lists of steps; a step is the list of the MIDI numbers that sound, from 21 to 108.

    Raises:
        DataError: a piece without steps, or a number that is no key.
    """
    if not isinstance(pieces, list | tuple) or not all(isinstance(piece, list | tuple) for piece in pieces):
        raise DataError("rolls requires a list of pieces, each a list of steps. Write rolls([[[60, 64], [62]]]).")
    lengths = torch.tensor([len(piece) for piece in pieces])
    if not len(pieces) or not lengths.all():
        raise DataError(f"A piece is a list of at least one step, got pieces of lengths {lengths.tolist()}.")
    x = torch.zeros(len(pieces), int(lengths.max()), KEYS, dtype=torch.uint8)
    for row, piece in enumerate(pieces):
        for t, pitches in enumerate(piece):
            for pitch in pitches:
                if not isinstance(pitch, int) or not LOWEST <= pitch < LOWEST + KEYS:
                    raise DataError(
                        f"The MIDI numbers of keys are 21 to 108, got {pitch!r} in piece {row} at step {t}."
                    )
                x[row, t, pitch - LOWEST] = 1
    return {"x": x, "within": torch.arange(x.shape[1]) < lengths[:, None]}
