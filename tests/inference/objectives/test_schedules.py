"""Schedules, step by step."""

import torch

from pyrovae.errors import SettingError
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
    for steps in (0, -3, 1.5):
        with says(SettingError, "steps", "at least 1"):
            Linear(0.0, 1.0, steps)
    with says(SettingError, "end", "finite"):
        Linear(0.0, float("nan"), 5)
    with says(SettingError, "period", "at least 1"):
        Cyclical(0.0, 1.0, 0)
    for rise in (0.0, 1.5, float("nan")):
        with says(SettingError, "rise"):
            Cyclical(0.0, 1.0, 5, rise=rise)
    with says(SettingError, "cycles"):
        Cyclical(0.0, 1.0, 5, cycles=0)
