"""Intervals cover as often as their level says, for continuous values and for discrete ones."""

import pytest
import torch

from pyrovae.errors import ShapeError
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
    with says(ShapeError, "between 0 and 1"):
        interval(draws, 1.0)
    with says(ShapeError, "(19, 4, 2)", "(4, 1)"):
        coverage(draws, truth[:, :1])
    with says(ShapeError, "where"):
        coverage(draws, truth, where=torch.zeros(2))
