"""Intervals cover as often as their level says, for continuous values and for discrete ones."""

import pytest
import torch

from pyrovae.errors import DataError, SettingError, ShapeError
from pyrovae.inference import coverage, interval


@pytest.mark.parametrize("probability", [0.02, 0.3])
def test_a_calibrated_binary_pixel_is_covered_as_often_as_it_says(probability):
    draws = torch.bernoulli(torch.full((19, 4000, 3), probability))
    truth = torch.bernoulli(torch.full((4000, 3), probability))
    found = coverage(draws, truth)
    assert abs(found.value - 0.9) < 4 * found.error < 0.03


def test_overconfident_draws_cover_too_rarely():
    truth = torch.bernoulli(torch.full((4000, 3), 0.3))
    assert coverage(torch.zeros(19, 4000, 3), truth).value < 0.7
    assert coverage(0.2 * torch.randn(99, 500, 3), torch.randn(500, 3), 0.9).value < 0.4


def test_an_interval_is_of_order_statistics():
    draws = torch.arange(19.0)[torch.randperm(19)].reshape(19, 1, 1)
    low, high = interval(draws)
    assert (low.item(), high.item()) == (0, 18)
    low, high = interval(torch.arange(99.0).reshape(99, 1))
    assert (low.item(), high.item()) == (4, 94)


def test_coverage_refuses_what_it_cannot_count(says):
    draws, truth = torch.randn(19, 4, 2), torch.randn(4, 2)
    with says(ShapeError, "level 0.9", "at least 19 draws", "18"):
        interval(draws[:18])
    for level in (0.0, 1.0, -0.5, float("nan"), None, "0.9"):
        with says(SettingError, "level requires a number between 0 and 1"):
            interval(draws, level)
        with says(SettingError, "level requires a number between 0 and 1"):
            coverage(draws, truth, level)
    with says(ShapeError, "(19, 4, 2)", "(4, 1)"):
        coverage(draws, truth[:, :1])
    with says(ShapeError, "where"):
        coverage(draws, truth, where=torch.zeros(2))
    with says(ShapeError, "broadcasts to the truth (4, 2)", "(3,)"):
        coverage(draws, truth, where=torch.ones(3))
    with says(SettingError, "seed"):
        coverage(draws, truth, seed=-1)


def test_nan_is_not_counted_in_silence(says):
    """A comparison with NaN is false, so it would count as not covered."""
    draws, truth = torch.randn(19, 4, 2), torch.randn(4, 2)
    truth[1, 0] = torch.nan
    with says(DataError, "1 NaN", "where=~truth.isnan()"):
        coverage(draws, truth)
    assert 0 <= coverage(draws, truth, where=~truth.isnan()).value <= 1
    draws[3, 2, 1] = torch.nan
    for refused in (lambda: coverage(draws, truth.nan_to_num()), lambda: interval(draws)):
        with says(DataError, "draws without NaN", "1 of 152"):
            refused()
