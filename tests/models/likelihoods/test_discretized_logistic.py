"""Discretised logistics and their mixtures: exact masses, tails, where a scale starts, and levels."""

import math

import pytest
import torch

from pyrovae.errors import SettingError, SupportError
from pyrovae.models.likelihoods import DiscretizedLogistic, DiscretizedLogisticMixture


@pytest.mark.parametrize("raw", [-40.0, -3.0, 0.0, 2.5, 40.0])
@pytest.mark.parametrize("loc", [-5.0, 0.0, 0.31, 1.0, 30.0])
def test_it_sums_to_one_wherever_it_is(loc, raw, dtype, masses, grey_levels):
    params = torch.tensor([loc, raw], dtype=dtype)
    total = masses(DiscretizedLogistic(1), params, grey_levels).sum().item()
    assert total == pytest.approx(1, abs=2e-5 if dtype == torch.float32 else 1e-12)


def test_it_is_the_difference_of_its_distribution_function(masses, grey_levels):
    params = torch.tensor([0.4, -3.5], dtype=torch.float64)
    scale = 255 * math.exp(7 * math.tanh(-3.5 / 7))
    edges = (torch.arange(1, 256).double() - 0.5 - 255 * 0.4) / scale
    cdf = torch.cat([torch.zeros(1), edges.sigmoid(), torch.ones(1)]).double()
    torch.testing.assert_close(masses(DiscretizedLogistic(1), params, grey_levels), cdf.diff())


@pytest.mark.parametrize("x", [0.0, 7 / 255, 128 / 255, 1.0])
@pytest.mark.parametrize("raw", [-12.0, -2.0, 0.0, 6.0, 12.0])
@pytest.mark.parametrize("loc", [-1e4, -3.0, 0.2, 1.0, 1e4])
def test_far_tails_in_float32_are_those_in_float64(loc, raw, x):
    seen = {}
    for dtype in (torch.float32, torch.float64):
        params = torch.tensor([loc, raw], dtype=dtype, requires_grad=True)
        log_prob = DiscretizedLogistic(1)(params).log_prob(torch.tensor([x], dtype=dtype))
        (gradient,) = torch.autograd.grad(log_prob, params)
        seen[dtype] = torch.stack([log_prob.detach(), *gradient]).double()
    assert seen[torch.float32].isfinite().all()
    torch.testing.assert_close(seen[torch.float32], seen[torch.float64], rtol=1e-3, atol=1e-3)


def test_a_mixture_of_one_is_the_component():
    loc, raw = torch.rand(2, 3), torch.randn(2, 3)
    x = (torch.rand(2, 3) * 255).round() / 255
    one = DiscretizedLogisticMixture((2, 3), 1)(torch.cat([torch.zeros(2, 3), loc, raw])).log_prob(x)
    torch.testing.assert_close(one, DiscretizedLogistic((2, 3))(torch.cat([loc, raw])).log_prob(x))


def test_a_mixture_weighs_its_components():
    logits, loc, raw = torch.randn(3, 3), torch.rand(3, 3), torch.randn(3, 3)  # (components, entries)
    x = torch.tensor([0.0, 100 / 255, 1.0])
    single = DiscretizedLogistic(1)
    for entry in range(3):
        parts = [single(torch.stack([loc[k, entry], raw[k, entry]])).log_prob(x[entry : entry + 1]) for k in range(3)]
        expected = (torch.stack(parts) + logits[:, entry].log_softmax(0)).logsumexp(0)
        params = torch.cat([logits[:, entry], loc[:, entry], raw[:, entry]])
        torch.testing.assert_close(DiscretizedLogisticMixture(1, 3)(params).log_prob(x[entry : entry + 1]), expected)


def test_a_scale_starts_at_the_spread_of_the_data():
    x = (0.5 + 0.1 * torch.randn(5000, 1)).mul(255).round().clamp(0, 255) / 255
    for likelihood in (DiscretizedLogistic(1), DiscretizedLogistic(1, "learned")):
        draws = likelihood(likelihood.start(x)).sample((20_000,))
        assert draws.std().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("likelihood", "values", "words"),
    [
        (DiscretizedLogistic(2), [0.0, 0.5], ["DiscretizedLogistic", "1/255", "got 0.5 ", "Scale()", "x * 255"]),
        (DiscretizedLogistic(2), [0.0, 200.0], ["DiscretizedLogistic", "0 to 200", "Scale()"]),
        (DiscretizedLogistic(2, levels=16), [1.1, 0.0], ["1/15", "1.1"]),
        (DiscretizedLogisticMixture(2, 2), [0.0, 0.01], ["DiscretizedLogisticMixture", "0.01"]),
    ],
)
def test_values_outside_the_support(likelihood, values, words, says):
    with says(SupportError, *words):
        likelihood.check(torch.tensor([values]))


def test_every_stored_grey_level_is_a_level():
    x = torch.arange(256, dtype=torch.uint8).float() / 255
    DiscretizedLogistic(256).check(x[None])
    assert DiscretizedLogistic(256)(torch.zeros(512)).support.check(x)


def test_wrong_arguments(says):
    with says(SupportError, "DiscretizedLogistic", "'predicted'", "'learnt'"):
        DiscretizedLogistic(2, "learnt")
    with says(SettingError, "levels", "at least 2", "levels=256"):
        DiscretizedLogistic(2, levels=1)


def test_repr():
    assert repr(DiscretizedLogistic(5)) == "DiscretizedLogistic((5,), scale='predicted', levels=256)"
    assert repr(DiscretizedLogisticMixture(5, 3)) == "DiscretizedLogisticMixture((5,), components=3, levels=256)"
