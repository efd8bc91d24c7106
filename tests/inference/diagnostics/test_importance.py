"""Importance weights: k-hat against ArviZ and exact tails, and the effective sample size."""

import math
import warnings

import pytest
import torch

from pyrovae.errors import NonFiniteError, PairError
from pyrovae.inference.diagnostics import effective_sample_size, psis_khat


@pytest.mark.parametrize("draws", [21, 100, 1000])
def test_khat_is_that_of_arviz(draws):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # ArviZ announces its next version
        arviz = pytest.importorskip("arviz")
    if not hasattr(arviz, "psislw"):
        pytest.skip("this ArviZ keeps psislw elsewhere")
    scales = torch.tensor([0.1, 0.5, 1, 3, 30, 900], dtype=torch.float64)
    log_weight = scales * torch.randn(draws, 6, dtype=torch.float64)
    _, expected = arviz.psislw(log_weight.T.numpy().copy())
    torch.testing.assert_close(psis_khat(log_weight), torch.as_tensor(expected), rtol=0, atol=1e-6)


def test_khat_is_the_shape_of_a_pareto_tail():
    """P(w > t) = t^(-1 / k)."""
    k = torch.tensor([0.3, 0.6, 1.0, 1.5])
    log_weight = -k * torch.rand(100_000, 4, dtype=torch.float64).log()
    torch.testing.assert_close(psis_khat(log_weight).float(), k, rtol=0.12, atol=0)


def test_khat_of_equal_weights_and_of_vanishing_ones():
    equal = torch.full((100,), -300.0) + 1e-4 * torch.randn(100)
    lone = torch.full((100,), -torch.inf)
    lone[:3] = 0
    assert psis_khat(torch.stack([equal, lone], 1)).tolist() == [0, math.inf]


def test_the_effective_sample_size():
    weights = torch.tensor([[1.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    torch.testing.assert_close(effective_sample_size(weights.log()), torch.tensor([16 / 6, 1.0]).double())


def test_weights_that_are_not_finite(says):
    bad = torch.zeros(30, 3)
    bad[4, 1], bad[:, 2] = torch.nan, -torch.inf
    for function in (psis_khat, effective_sample_size):
        with says(NonFiniteError, "2 of 3 data points, rows [1, 2]"):
            function(bad)
    with says(PairError, "21 draws", "got 20"):
        psis_khat(torch.zeros(20, 3))


def test_many_weights_are_quick():
    assert psis_khat(torch.randn(300, 5000)).shape == (5000,)
