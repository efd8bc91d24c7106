"""Bags of words: the multinomial density, its draws, and its support."""

import math

import pytest
import torch

from pyrovae.errors import SettingError, SupportError
from pyrovae.models.likelihoods import Multinomial
from pyrovae.models.likelihoods.multinomial import orders


def bags(total, words):
    """All counts of so many words in all, `(*, words)`."""
    if words == 1:
        return torch.tensor([[total]])
    parts = [
        torch.cat([torch.full((len(rest), 1), n), rest], 1)
        for n in range(total + 1)
        for rest in [bags(total - n, words - 1)]
    ]
    return torch.cat(parts)


@pytest.mark.parametrize("total", [0, 1, 4])
def test_the_documents_of_each_length_have_probability_one(total):
    """The length is that of the document, whatever the length of draws."""
    p = Multinomial(3, total=7)(torch.randn(3, dtype=torch.float64))
    assert p.log_prob(bags(total, 3).double()).exp().sum().item() == pytest.approx(1)


def test_its_density_is_that_of_torch():
    x, logits = torch.tensor([[3.0, 0.0, 2.0, 1.0], [0.0, 0.0, 0.0, 6.0]]), torch.randn(5, 2, 4)
    theirs = torch.distributions.Multinomial(6, logits=logits).log_prob(x.expand(5, 2, 4))
    ours = Multinomial(4)(logits).log_prob(x)
    assert ours.shape == (5, 2)
    torch.testing.assert_close(ours, theirs)


def test_draws_have_the_total_the_mean_and_the_variance():
    p = Multinomial(3, total=10)(torch.tensor([0.3, -1.0, 1.0], dtype=torch.float64))
    x = p.expand((2,)).sample((20_000,))
    assert x.shape == (20_000, 2, 3)
    assert (x.sum(-1) == 10).all()
    torch.testing.assert_close(x.mean((0, 1)), p.mean, rtol=0.02, atol=0)
    torch.testing.assert_close(x.flatten(0, 1).var(0), p.variance, rtol=0.04, atol=0)


def test_the_gradient_is_that_of_a_cross_entropy():
    logits, x = torch.zeros(4, requires_grad=True), torch.tensor([2.0, 0.0, 1.0, 1.0])
    Multinomial(4)(logits).log_prob(x).backward()
    torch.testing.assert_close(logits.grad, x - 4 * torch.full((4,), 0.25))


def test_orders_counts_the_orders_of_the_words():
    assert orders(torch.tensor([[2.0, 1.0, 0.0], [5.0, 0.0, 0.0]])).exp().tolist() == pytest.approx([3, 1])
    large = torch.tensor([400.0, 600.0])
    exact = math.lgamma(1001) - math.lgamma(401) - math.lgamma(601)
    assert orders(large).item() == pytest.approx(exact, abs=1e-3)


def test_it_starts_at_the_frequencies_of_the_words():
    x = torch.tensor([[9, 0, 0], [20, 10, 0]])
    likelihood = Multinomial(3)
    torch.testing.assert_close(likelihood.start(x).exp(), torch.tensor([29.5, 10.5, 0.5]) / 40.5)


@pytest.mark.parametrize("broken", [-1.0, 0.5, math.inf, math.nan])
def test_values_outside_the_support(broken, says):
    Multinomial(2).check(torch.tensor([[0.0, 3.0]]))
    with says(SupportError, "Multinomial", "'x'"):
        Multinomial(2).check(torch.tensor([[1.0, broken]]))


def test_a_total_that_is_no_count(says):
    with says(SettingError, "total", "0"):
        Multinomial(3, total=0)


def test_repr():
    assert repr(Multinomial(5, 40)) == "Multinomial((5,), total=40)"
