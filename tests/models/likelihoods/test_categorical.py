"""Entries with finitely many values: categorical and ordinal."""

import math

import pytest
import torch
from torch import nn

from pyrovae.errors import SettingError, SupportError
from pyrovae.models.likelihoods import Categorical, Ordinal


def test_an_ordinal_has_cumulative_logits(masses):
    likelihood = Ordinal(1, 5).double()
    nn.init.normal_(likelihood.raw_thresholds)
    first, *gaps = likelihood.raw_thresholds[0].tolist()
    thresholds = torch.tensor([first, *(math.exp(7 * math.tanh(gap / 7)) for gap in gaps)]).double().cumsum(0)
    h = torch.tensor([0.7], dtype=torch.float64)
    cumulative = masses(likelihood, h, torch.arange(5.0)).cumsum(0)
    torch.testing.assert_close(cumulative[:-1], (thresholds - h).sigmoid(), rtol=1e-6, atol=1e-6)
    assert likelihood(h + 1).mean > likelihood(h).mean


def test_integers_may_be_int64():
    x = torch.tensor([[0, 2, 1]])
    for likelihood in (Categorical(3, 4), Ordinal(3, 4)):
        params = torch.randn(1, *likelihood.params_shape)
        likelihood.check(x)
        assert torch.equal(likelihood(params).log_prob(x), likelihood(params).log_prob(x.float()))
        assert likelihood.start(x).is_floating_point()


def test_frequencies_are_met_at_the_start(masses):
    x = torch.tensor([0.0, 0.0, 0.0, 1.0, 3.0]).repeat(400).unsqueeze(-1)
    for likelihood in (Categorical(1, 4), Ordinal(1, 4)):
        p = masses(likelihood, likelihood.start(x), torch.arange(4.0))
        torch.testing.assert_close(p, torch.tensor([0.6, 0.2, 0.0, 0.2]), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("likelihood", "values", "words"),
    [
        (Categorical(2, 3), [3.0, 0.0], ["Categorical", "{0, ..., 2}", "0 to 3", "values=int(x.max()) + 1"]),
        (Categorical(2, 3), [0.5, 0.0], ["Categorical", "got 0.5"]),
        (Ordinal(2, 3), [-1.0, 0.0], ["Ordinal", "from 0"]),
    ],
)
def test_values_outside_the_support(likelihood, values, words, says):
    with says(SupportError, *words):
        likelihood.check(torch.tensor([values]))


@pytest.mark.parametrize("make", [Categorical, Ordinal])
def test_one_value(make, says):
    with says(SettingError, "values", "at least 2"):
        make(2, 1)


def test_repr():
    assert repr(Categorical(5, 3)) == "Categorical((5,), values=3)"
    assert repr(Ordinal(5, 3)) == "Ordinal((5,), values=3)"
