"""Piano rolls from lists of MIDI numbers."""

import pytest
import torch

from pyrovae.data.piano import rolls
from pyrovae.errors import DataError

PIECES = [[[60, 64], [], [108]], [[21]]]


def test_rolls_put_each_pitch_at_its_key():
    batch = rolls(PIECES)
    assert batch["x"].dtype == torch.uint8
    assert batch["x"].nonzero().tolist() == [[0, 0, 39], [0, 0, 43], [0, 2, 87], [1, 0, 0]]
    assert batch["within"].tolist() == [[True, True, True], [True, False, False]]


@pytest.mark.parametrize(
    ("pieces", "words"), [([[]], ("at least one", "lengths [0]")), ([[[60], [20]]], ("20", "step 1"))]
)
def test_rolls_refuse_what_no_piano_has(pieces, words, says):
    with says(DataError, *words):
        rolls(pieces)
