"""The continuous Bernoulli: its density, gradient, mean and draws, at small and large logits."""

import math

import pytest
import torch

from pyrovae.errors import SupportError
from pyrovae.models.likelihoods import ContinuousBernoulli

NEAR = [0.0, 1e-7, 1e-3, -1e-3, 0.004, 0.0041, 0.1, -0.999, 1.0, -1.001]
LOGITS = [*NEAR, 4.0, -8.0, 12.0, 15.0, 17.0, -20.0, 20.0, 40.0]


def unit_grid(points=2**14 + 1):
    return torch.linspace(0, 1, points, dtype=torch.float64)


@pytest.mark.parametrize("logit", LOGITS)
def test_it_integrates_to_one(dtype, logit, integral):
    grid = unit_grid()
    x = grid.to(dtype).unsqueeze(-1)
    density = ContinuousBernoulli(1)(torch.full_like(x, logit)).log_prob(x).exp()
    assert integral(density, grid).item() == pytest.approx(1, abs=1e-4 if dtype == torch.float32 else 1e-9)


def test_it_has_its_exact_density():
    for logit in (0.2, -3.0, 20.0, -30.0, 300.0):
        x = torch.tensor([0.0, 0.3, 1.0])
        exact = [logit * (v - 0.5) - log_sinhc(logit / 2) for v in x.tolist()]
        log_prob = ContinuousBernoulli(1)(torch.full((3, 1), logit)).log_prob(x.unsqueeze(-1))
        torch.testing.assert_close(log_prob, torch.tensor(exact), rtol=1e-5, atol=2e-6)


def log_sinhc(h):
    """log(sinh(h) / h)."""
    return abs(h) + math.log1p(-math.exp(-2 * abs(h))) - math.log(2 * abs(h))


@pytest.mark.parametrize("logit", [*LOGITS, 1000.0, -1000.0])
def test_it_has_the_exact_gradient(dtype, logit):
    """d/dl log p(x) = x - mean, for any exponential family."""
    logits = torch.full((1,), logit, dtype=dtype, requires_grad=True)
    x = torch.tensor([0.3], dtype=dtype)
    p = ContinuousBernoulli(1)(logits)
    (gradient,) = torch.autograd.grad(p.log_prob(x), logits)
    torch.testing.assert_close(gradient, x - p.mean, rtol=0, atol=1e-6)


@pytest.mark.parametrize("logit", LOGITS)
def test_its_mean_is_its_integral(dtype, logit, integral):
    grid = unit_grid()
    density = ContinuousBernoulli(1)(torch.full((len(grid), 1), logit).double()).log_prob(grid.unsqueeze(-1)).exp()
    mean = ContinuousBernoulli(1)(torch.full((1,), logit, dtype=dtype)).mean
    assert mean.item() == pytest.approx(integral(density * grid, grid).item(), abs=1e-6)


@pytest.mark.parametrize("logit", [0.0, 1e-3, 2.0, -9.0, 25.0])
def test_its_draws_follow_its_distribution(logit):
    x = ContinuousBernoulli(1)(torch.full((20_000, 1), logit)).sample().double().flatten().sort().values
    assert x[0] >= 0
    assert x[-1] <= 1
    cdf = torch.expm1(logit * x) / math.expm1(logit) if logit else x
    distance = (cdf - torch.arange(1, 20_001) / 20_000).abs().max()  # Kolmogorov and Smirnov
    assert distance.item() < 1.95 / math.sqrt(20_000)


def test_its_draws_have_a_gradient():
    logits = torch.tensor([-3.0, 0.5, 20.0], requires_grad=True)
    draws = ContinuousBernoulli(3)(logits).rsample((500,))
    (gradient,) = torch.autograd.grad(draws.sum(), logits)
    assert (gradient > 0).all()  # a larger logit gives larger draws


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.0, 255.0], ["ContinuousBernoulli", "[0, 1]", "0 to 255", "Scale()", "Normal()"]),
        ([-0.1, 0.2], ["[0, 1]", "-0.1 to 0.2"]),
        ([math.inf, 0.2], ["[0, 1]", "inf"]),
    ],
)
def test_values_outside_the_support(values, words, says):
    with says(SupportError, *words):
        ContinuousBernoulli(2).check(torch.tensor([values]))


def test_the_support_has_its_edges():
    ContinuousBernoulli(3).check(torch.tensor([[0.0, 0.2, 1.0]]))


def test_an_error_of_the_hot_path_is_pyros(says):
    """Without `check`, the distribution raises for such a value, if validation is on."""
    with says(ValueError, "support"):
        ContinuousBernoulli(1)(torch.zeros(1)).log_prob(torch.tensor([1.5]))


def test_repr():
    assert repr(ContinuousBernoulli(5)) == "ContinuousBernoulli((5,))"
