"""Batches of data points of nearly equal length."""

from itertools import pairwise

import torch

from pyrovae.data import ByLength


def test_batches_by_length_hold_all_data_once_and_little_padding():
    counts = torch.randint(1, 30, (100,))
    draw = ByLength(counts, 16)
    steps = draw(torch.Generator().manual_seed(0))
    assert torch.cat(steps).sort().values.equal(torch.arange(100))
    assert sorted(map(len, steps)) == [4, 16, 16, 16, 16, 16, 16]
    spans = sorted((counts[rows].min().item(), counts[rows].max().item()) for rows in steps)
    assert all(above[0] >= below[1] for below, above in pairwise(spans))
    again = draw(torch.Generator().manual_seed(0))
    assert all(a.equal(b) for a, b in zip(steps, again, strict=True))
    assert not steps[0].equal(draw(torch.Generator().manual_seed(1))[0])
    assert repr(draw) == "ByLength(100 data points, batch_size=16)"
