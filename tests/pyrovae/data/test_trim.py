"""Padded sequences, cut at the longest of a batch."""

import torch

from pyrovae.data import Trim, rolls
from pyrovae.errors import DataError, ShapeError


def test_trim_cuts_at_the_longest():
    batch = Trim()(rolls([[[60]] * 2, [[60]] * 3]) | {"y": torch.zeros(2)})
    assert batch["x"].shape == (2, 3, 88)
    assert batch["x"].dtype == torch.float32
    cut = Trim()({name: tensor[:1] for name, tensor in batch.items()})
    assert cut["x"].shape == (1, 2, 88)
    assert cut["within"].shape == (1, 2)


def test_trim_counts_all_steps_where_nothing_says_how_long():
    assert Trim().prepare({"x": torch.zeros(2, 3, 4)})["within"].tolist() == [[True] * 3] * 2


def test_trim_refuses_what_are_no_sequences(says):
    x, within = torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    for wrong in ({"x": x, "within": within.float()}, {"x": x, "within": within[:, :2]}):
        with says(ShapeError, "(2, 3, 4)", "Write within = torch.arange"):
            Trim().prepare(wrong)
    within[1] = False
    with says(DataError, "at rows [1]. Drop them"):
        Trim().prepare({"x": x, "within": within})
