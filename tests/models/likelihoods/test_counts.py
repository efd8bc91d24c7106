"""Counts: Poisson and negative binomial."""

import math

import pytest
import torch

from pyrovae.errors import SupportError
from pyrovae.models.likelihoods import NegativeBinomial, Poisson


def test_a_negative_binomial_has_its_mean_and_variance():
    params = torch.tensor([2.0, -0.3], dtype=torch.float64)
    p = NegativeBinomial(1, "predicted")(params)
    mean, r = math.exp(15 * math.tanh(2 / 15)), math.exp(18 * math.tanh(-0.3 / 18))
    assert p.mean.item() == pytest.approx(mean)
    assert p.variance.item() == pytest.approx(mean + mean**2 / r)


def test_a_negative_binomial_starts_at_the_dispersion_of_the_data():
    x = NegativeBinomial(1, "predicted")(torch.tensor([2.0, -1.0])).sample((50_000,))
    likelihood = NegativeBinomial(1, "predicted")
    p = likelihood(likelihood.start(x))
    assert p.mean.item() == pytest.approx(x.mean().item(), rel=1e-3)
    assert p.variance.item() == pytest.approx(x.var().item(), rel=1e-2)


@pytest.mark.parametrize("mean", [10.0, 1e4, 1e6])
@pytest.mark.parametrize("dispersion", ["learned", "predicted"])
def test_a_negative_binomial_of_poisson_counts_is_as_narrow_as_they_are(mean, dispersion):
    x = torch.poisson(torch.full((20_000, 1), mean))
    likelihood = NegativeBinomial(1, dispersion)
    p = likelihood(likelihood.start(x))
    assert p.sample((20_000,)).std().item() == pytest.approx(mean**0.5, rel=0.05)


@pytest.mark.parametrize("mean", [1.0, 300.0, 3e4, 1e6])
def test_log_probabilities_of_large_counts_in_float32_are_those_of_float64(mean):
    """Twenty counts near a million were off by more than a nat."""
    x = torch.poisson(torch.full((50, 20), mean))
    params = torch.full((50, 20), 15 * math.atanh(math.log(mean) / 15)) + torch.randn(50, 20) / mean**0.5
    raw = torch.full((50, 20), 12.0) + torch.randn(50, 20)
    ours, exact = Poisson(20)(params), torch.distributions.Poisson(Poisson(20)(params).base_dist.rate.double())
    torch.testing.assert_close(ours.log_prob(x).double(), exact.log_prob(x.double()).sum(-1), rtol=1e-6, atol=1e-3)
    ours = NegativeBinomial(20, "predicted")(torch.cat([params, raw], -1))
    r, logits = (part.double() for part in (ours.base_dist.total_count, ours.base_dist.logits))
    exact = torch.distributions.NegativeBinomial(r, logits=logits)
    torch.testing.assert_close(ours.log_prob(x).double(), exact.log_prob(x.double()).sum(-1), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("likelihood", [Poisson(2), NegativeBinomial(2)])
def test_counts_keep_the_type_of_their_parameters(likelihood):
    params = torch.zeros(3, 2, requires_grad=True)
    log_prob = likelihood(params).expand((4, 3)).log_prob(torch.ones(4, 3, 2))
    assert (log_prob.dtype, log_prob.shape) == (torch.float32, (4, 3))
    log_prob.sum().backward()
    assert params.grad.isfinite().all()
    assert likelihood(params.double()).log_prob(torch.ones(3, 2)).dtype == torch.float64


@pytest.mark.parametrize(
    ("likelihood", "values", "words"),
    [
        (Poisson(2), [1.5, 0.0], ["Poisson", "{0, 1, 2, ...}", "1.5", "raw counts"]),
        (Poisson(2), [math.inf, 0.0], ["Poisson", "infinity"]),
        (NegativeBinomial(2), [-1.0, 0.0], ["NegativeBinomial", "-1 to 0"]),
    ],
)
def test_values_outside_the_support(likelihood, values, words, says):
    with says(SupportError, *words):
        likelihood.check(torch.tensor([values]))


def test_a_wrong_dispersion(says):
    with says(SupportError, "'learned'", "'predicted'", "'shared'"):
        NegativeBinomial(2, "shared")


def test_repr():
    assert repr(Poisson(5)) == "Poisson((5,))"
    assert repr(NegativeBinomial(5)) == "NegativeBinomial((5,), dispersion='learned')"
