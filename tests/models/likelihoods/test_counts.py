"""Counts: Poisson and negative binomial."""

import math

import pytest
import torch

from pyrovae.errors import SupportError
from pyrovae.models.likelihoods import NegativeBinomial, Poisson


def test_a_negative_binomial_has_its_mean_and_variance():
    params = torch.tensor([2.0, -0.3], dtype=torch.float64)
    p = NegativeBinomial(1, "predicted")(params)
    mean, r = math.exp(15 * math.tanh(2 / 15)), math.exp(7 * math.tanh(-0.3 / 7))
    assert p.mean.item() == pytest.approx(mean)
    assert p.variance.item() == pytest.approx(mean + mean**2 / r)


def test_a_negative_binomial_starts_at_the_dispersion_of_the_data():
    x = NegativeBinomial(1, "predicted")(torch.tensor([2.0, -1.0])).sample((50_000,))
    likelihood = NegativeBinomial(1, "predicted")
    p = likelihood(likelihood.start(x))
    assert p.mean.item() == pytest.approx(x.mean().item(), rel=1e-3)
    assert p.variance.item() == pytest.approx(x.var().item(), rel=1e-2)


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
