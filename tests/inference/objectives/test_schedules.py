"""Schedules, step by step."""

import torch

from pyrovae.errors import PairError
from pyrovae.inference import Cyclical, Linear


def test_schedules():
    steps = torch.arange(12)
    linear = Linear(1.0, 3.0, 4)
    assert [linear(s).item() for s in steps[:7]] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0]
    cyclical = Cyclical(0.0, 1.0, 4)
    assert [cyclical(s).item() for s in steps] == [0.0, 0.5, 1.0, 1.0] * 3
    twice = Cyclical(0.0, 1.0, 4, rise=1.0, cycles=2)
    assert [twice(s).item() for s in steps] == [0.0, 0.25, 0.5, 0.75] * 2 + [1.0] * 4


def test_schedules_that_make_no_sense(says):
    with says(PairError, "steps >= 1"):
        Linear(0.0, 1.0, 0)
    with says(PairError, "period"):
        Cyclical(0.0, 1.0, 0)
    with says(PairError, "rise"):
        Cyclical(0.0, 1.0, 5, rise=0.0)
