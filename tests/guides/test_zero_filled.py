"""The guide of incomplete data: missing entries are zeros."""

import math

import torch

from pyrovae.guides import ZeroFilled


def test_it_sees_zeros_and_if_asked_the_mask():
    seen = []
    guide = ZeroFilled(seen.append, mask=True)
    x = torch.tensor([[1.0, math.nan], [math.nan, 4.0]])
    guide(x, ~x.isnan())
    ZeroFilled(seen.append)(x, ~x.isnan())
    ZeroFilled(seen.append, mask=True)(torch.ones(1, 1, 2, 2))
    assert seen[0].tolist() == [[1, 0, 1, 0], [0, 4, 0, 1]]
    assert seen[1].tolist() == [[1, 0], [0, 4]]
    assert seen[2].shape == (1, 2, 2, 2)
    assert "mask=True" in repr(guide)
