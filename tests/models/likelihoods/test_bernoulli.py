"""The Bernoulli likelihood and its relaxed form."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from pyrovae.errors import SupportError
from pyrovae.models.likelihoods import Bernoulli


def test_it_sums_to_one(dtype):
    corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=dtype)
    for scale in (0, 1e-3, 1, 20):
        logits = torch.randn(4, dtype=dtype) * scale
        total = Bernoulli(4)(logits.expand(16, 4)).log_prob(corners).exp().sum()
        assert total.item() == pytest.approx(1, abs=1e-5)


def test_its_mean():
    params = torch.randn(5)
    torch.testing.assert_close(Bernoulli(5)(params).mean, params.sigmoid())


def test_relaxed_it_is_the_cross_entropy():
    logits, x = torch.randn(7, 1, 4, 5) * 5, torch.rand(7, 1, 4, 5)
    log_prob = Bernoulli((1, 4, 5), relaxed=True)(logits).log_prob(x)
    expected = -binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(log_prob, expected)


def test_relaxed_it_is_the_bernoulli_on_binary_data():
    logits, x = torch.randn(7, 20), torch.rand(7, 20).round()
    torch.testing.assert_close(Bernoulli(20)(logits).log_prob(x), Bernoulli(20, relaxed=True)(logits).log_prob(x))


@pytest.mark.parametrize(
    ("relaxed", "values", "words"),
    [
        (False, [0.0, 0.73], ["{0, 1}", "up to 0.73", "'x'", "Binarize()", "ContinuousBernoulli()", "relaxed=True"]),
        (False, [0.0, 255.0], ["{0, 1}", "0 to 255", "Scale()"]),
        (False, [-1.0, 1.0], ["{0, 1}", "-1 to 1"]),
        (False, [math.nan, 1.0], ["{0, 1}", "nan"]),
        (True, [0.0, 1.01], ["[0, 1]", "0 to 1.01", "Scale()"]),
        (True, [-0.5, 1.0], ["[0, 1]", "-0.5 to 1"]),
        (True, [math.nan, 1.0], ["[0, 1]", "nan"]),
    ],
)
def test_values_outside_the_support(relaxed, values, words, says):
    with says(SupportError, *words):
        Bernoulli(2, relaxed=relaxed).check(torch.tensor([values]))


def test_the_support_has_its_edges():
    Bernoulli(2).check(torch.tensor([[0.0, 1.0]]))
    Bernoulli(3, relaxed=True).check(torch.tensor([[0.0, 0.2, 1.0]]))


def test_repr():
    assert repr(Bernoulli((1, 28, 28))) == "Bernoulli((1, 28, 28))"
    assert repr(Bernoulli(5, relaxed=True)) == "Bernoulli((5,), relaxed=True)"
