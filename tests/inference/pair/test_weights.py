"""Sums of weights are those of a direct computation, for any chunks of the draws."""

import math

import pytest
import torch

from pyrovae.inference.pair.weights import WeightSums

DRAWS, SIZE = 40, 6


@pytest.fixture
def log_weight():
    return 3 * torch.randn(DRAWS, SIZE) - 700  # exp of it is 0 in float32


def test_log_sum_and_log_mean(log_weight):
    sums, wide = WeightSums.of(log_weight), log_weight.double()
    assert sums.num_samples == DRAWS
    assert sums.logs.dtype == torch.float64
    torch.testing.assert_close(sums.log_sum, (wide + 700).exp().sum(0).log() - 700)
    torch.testing.assert_close(sums.log_mean, (wide + 700).exp().mean(0).log() - 700)


@pytest.mark.parametrize("sizes", [(40,), (1, 39), (13, 13, 14), (1,) * 40])
def test_merged_chunks_are_the_whole(log_weight, sizes):
    first, *others = (WeightSums.of(part) for part in log_weight.split(sizes))
    for other in others:
        first = first.merge(other)
    whole = WeightSums.of(log_weight)
    assert first.num_samples == whole.num_samples
    torch.testing.assert_close(first.logs, whole.logs)


def test_the_error_is_that_of_the_delta_method(log_weight):
    """d log(mean w) = d(mean w) / mean w, and mean w has the standard error std(w) / sqrt(S)."""
    weight = (log_weight.double() + 700).exp()
    direct = weight.std(0) / math.sqrt(DRAWS) / weight.mean(0)
    torch.testing.assert_close(WeightSums.of(log_weight).log_mean_error, direct)


def test_the_error_is_the_spread_of_estimates():
    log_weight = 0.3 * torch.randn(500, 2000)
    sums = WeightSums.of(log_weight)
    assert sums.log_mean.std().item() == pytest.approx(sums.log_mean_error.mean().item(), rel=0.05)


def test_the_effective_sample_size(log_weight):
    sums, weight = WeightSums.of(log_weight), (log_weight.double() + 700).exp()
    torch.testing.assert_close(sums.effective_sample_size, weight.sum(0).square() / weight.square().sum(0))
    assert (sums.effective_sample_size >= 1).all()
    assert (sums.effective_sample_size <= DRAWS).all()


def test_its_ends():
    equal = WeightSums.of(torch.full((DRAWS, SIZE), -3.0))
    torch.testing.assert_close(equal.effective_sample_size, torch.full((SIZE,), float(DRAWS)).double())
    torch.testing.assert_close(equal.log_mean_error, torch.zeros(SIZE).double(), rtol=0, atol=1e-7)
    one = torch.full((DRAWS, SIZE), -torch.inf)
    one[3] = 2.0
    torch.testing.assert_close(WeightSums.of(one).effective_sample_size, torch.ones(SIZE).double())


def test_one_draw():
    sums = WeightSums.of(torch.full((1, SIZE), -5.0))
    assert (sums.log_mean == -5).all()
    assert sums.log_mean_error.isnan().all()  # one draw shows no spread
    assert (sums.effective_sample_size == 1).all()
