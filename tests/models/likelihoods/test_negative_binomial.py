"""Overdispersed counts: shares of a total, dispersions by batch, and zeros beyond those of the negative binomial."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch

from pyrovae.errors import PairError, ShapeError, SupportError
from pyrovae.models.likelihoods import NegativeBinomial, ZeroInflatedNegativeBinomial
from pyrovae.numeric import log_binomial

FAMILIES = [NegativeBinomial, ZeroInflatedNegativeBinomial]
COUNTS = torch.arange(4000.0, dtype=torch.float64).unsqueeze(-1)


def one_count(family, **options):
    """One entry of each kind, in float64."""
    likelihood = family(1, "predicted", **options)
    params = torch.tensor([2.5, -0.3, -0.8][: likelihood.params_per_entry], dtype=torch.float64)
    return likelihood(params, torch.tensor(20.0, dtype=torch.float64)) if options else likelihood(params)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [{}, {"shares": True}])
def test_it_sums_to_one_and_has_its_moments(family, options):
    p = one_count(family, **options)
    probabilities = p.log_prob(COUNTS).exp()
    mean = (probabilities * COUNTS[:, 0]).sum()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-9)
    assert mean.item() == pytest.approx(p.mean.item(), rel=1e-9)
    assert (probabilities * (COUNTS[:, 0] - mean) ** 2).sum().item() == pytest.approx(p.variance.item(), rel=1e-6)


def test_the_probabilities_are_those_of_scipy():
    r, mean, gate = math.exp(18 * math.tanh(-0.3 / 18)), math.exp(15 * math.tanh(2.5 / 15)), 1 / (1 + math.exp(0.8))
    known = scipy.stats.nbinom(r, r / (r + mean)).pmf(np.arange(4000))
    torch.testing.assert_close(one_count(NegativeBinomial).log_prob(COUNTS).exp(), torch.from_numpy(known))
    inflated = (1 - gate) * known + gate * (np.arange(4000) == 0)
    found = one_count(ZeroInflatedNegativeBinomial).log_prob(COUNTS).exp()
    torch.testing.assert_close(found, torch.from_numpy(inflated))


def test_draws_have_the_mean_and_the_zeros_of_the_density():
    p = one_count(ZeroInflatedNegativeBinomial)
    x = p.sample((40_000,))
    assert x.mean().item() == pytest.approx(p.mean.item(), rel=0.03)
    assert (x == 0).double().mean().item() == pytest.approx(p.log_prob(COUNTS[:1]).exp().item(), abs=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_total_scales_the_mean_and_the_shares_sum_to_one(family):
    likelihood = family(5, shares=True)
    params, total = torch.randn(3, *likelihood.params_shape), torch.tensor([10.0, 100.0, 1.0])
    counted = likelihood(params, total).base_dist
    counted = getattr(counted, "base_dist", counted)
    torch.testing.assert_close(counted.mean.sum(-1), total)
    doubled = likelihood(params, 2 * total).base_dist
    torch.testing.assert_close(getattr(doubled, "base_dist", doubled).mean, 2 * counted.mean)


def test_each_batch_has_its_own_dispersion():
    likelihood = NegativeBinomial(2, batches=3)
    with torch.no_grad():
        likelihood.raw_dispersion.copy_(torch.tensor([[0.0, 1.0], [2.0, 3.0], [-1.0, -2.0]]))
    p = likelihood(torch.zeros(4, 2), batch=torch.tensor([2, 0, 1, 2])).base_dist
    expected = (18 * torch.tanh(likelihood.raw_dispersion[[2, 0, 1, 2]] / 18)).exp()
    torch.testing.assert_close(1 / (p.variance - p.mean), expected)  # the mean is 1
    p.log_prob(torch.ones(4, 2)).sum().backward()
    assert (likelihood.raw_dispersion.grad != 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_training_starts_at_the_moments_of_the_data(family):
    truth = family(3, shares=True)
    params = torch.tensor([1.0, 0.0, -1.0, -1.5, -1.0, -0.5][: 3 * truth.params_per_entry])
    total = torch.full((20_000,), 30.0)
    x = truth(params, total).sample()
    fitted = family(3, shares=True)
    p = fitted(fitted.start(x), x.sum(-1).mean()).base_dist
    counted = getattr(p, "base_dist", p)
    torch.testing.assert_close(counted.mean, x.mean(0), rtol=0.02, atol=0.02)
    assert 0.2 < (fitted.raw_dispersion - truth.raw_dispersion + 1).min() < 2


def test_the_coefficient_and_its_gradient():
    r = torch.tensor([1e-6, 1e-3, 0.1, 1.0, 10.0, 1e4, 6e7], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([0, 1, 2, 10, 1e3, 1e6], dtype=torch.float64).unsqueeze(-1)
    exact = (r + x).lgamma() - r.lgamma() - (x + 1).lgamma()
    torch.testing.assert_close(log_binomial(r, x), exact)
    weights = torch.rand(6, 7, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((weights * f).sum(), r)[0] for f in (log_binomial(r, x), exact))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert torch.autograd.gradcheck(lambda r: log_binomial(r, x[:4]), (r.detach()[2:5].requires_grad_(),))


def test_binomials_are_exact():
    for r, x in itertools.product([1, 2, 7, 50, 10**3, 10**7], [0, 1, 2, 10, 100, 3000]):
        found = log_binomial(torch.tensor(float(r)).double(), torch.tensor(float(x)).double()).item()
        assert found == pytest.approx(math.log(math.comb(r + x - 1, x)), rel=1e-13, abs=1e-11)


def test_what_it_refuses(says):
    with says(PairError, "total", "'total': x.sum(-1)", "CountVAE"):
        NegativeBinomial(2, shares=True)(torch.zeros(3, 2))
    with says(PairError, "batches=2", "'batch': batch"):
        NegativeBinomial(2, batches=2)(torch.zeros(3, 2))
    with says(PairError, "learned", "batches=2"):
        NegativeBinomial(2, "predicted", batches=2)
    with says(ShapeError, "(G,)", "(2, 3)"):
        ZeroInflatedNegativeBinomial((2, 3), shares=True)
    with says(SupportError, "ZeroInflatedNegativeBinomial", "1.5", "raw counts"):
        ZeroInflatedNegativeBinomial(2).check(torch.tensor([[1.5, 0.0]]))
    with says(SupportError, "1 of 2 data points", "x[x.sum(-1) > 0]"):
        NegativeBinomial(2, shares=True).check(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    NegativeBinomial(2).check(torch.zeros(1, 2))


def test_repr():
    shown = repr(ZeroInflatedNegativeBinomial(5, shares=True, batches=2))
    assert shown == "ZeroInflatedNegativeBinomial((5,), dispersion='learned', shares=True, batches=2)"
