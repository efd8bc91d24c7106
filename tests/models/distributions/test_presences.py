"""Presences: ones and then zeros, against enumeration."""

import pytest
import torch
from torch.distributions import kl_divergence

from pyrovae.models.distributions import Presences

N = 4


@pytest.fixture
def made():
    return Presences(torch.randn(3, N).double())


@pytest.mark.parametrize("expand", [True, False])
def test_the_support_is_counted_and_sums_to_one(made, expand):
    values = made.enumerate_support(expand=expand)
    assert values.shape == ((N + 1, 3, N) if expand else (N + 1, 1, N))
    torch.testing.assert_close(values.sum(-1)[:, 0], torch.arange(N + 1).double())
    assert made.support.check(values).all()
    log_prob = made.log_prob(values)
    torch.testing.assert_close(log_prob.exp().sum(0), torch.ones(3).double())
    torch.testing.assert_close(log_prob, made.log_probs.T)


def test_equal_chances_are_geometric_and_cut():
    s = 0.3
    made = Presences(torch.tensor(s).double().logit().expand(N))
    wanted = [s**n * (1 - s) for n in range(N)] + [s**N]
    torch.testing.assert_close(made.log_probs.exp(), torch.tensor(wanted).double())


def test_the_moments_are_those_of_the_enumeration(made):
    values, p = made.enumerate_support(), made.log_probs.exp().T.unsqueeze(-1)
    mean = (p * values).sum(0)
    torch.testing.assert_close(made.mean, mean)
    torch.testing.assert_close(made.variance, (p * (values - mean) ** 2).sum(0))
    torch.testing.assert_close(made.entropy(), -(made.log_probs.exp() * made.log_probs).sum(-1))
    best = made.log_probs.argmax(-1)
    torch.testing.assert_close(made.mode, torch.stack([values[n, i] for i, n in enumerate(best)]))


def test_draws_have_the_probabilities(made):
    drawn = made.sample((40_000,))
    assert made.support.check(drawn).all()
    found = torch.stack([(drawn.sum(-1) == n).double().mean(0) for n in range(N + 1)], -1)
    torch.testing.assert_close(found, made.log_probs.exp(), rtol=0, atol=0.012)  # about five standard errors


def test_the_divergence_is_the_sum_over_the_support(made):
    other = Presences(torch.randn(N).double())
    values = made.enumerate_support()
    q, p = made.log_prob(values), other.log_prob(values)
    torch.testing.assert_close(kl_divergence(made, other), (q.exp() * (q - p)).sum(0))
    torch.testing.assert_close(kl_divergence(made, made), torch.zeros(3).double())


def test_other_vectors_are_outside_the_support(made):
    outside = torch.tensor([[0, 1, 0, 0], [1, 0, 1, 0], [1, 0.5, 0, 0], [2, 1, 0, 0]])
    assert not made.support.check(outside).any()


def test_logits_of_any_size_are_finite():
    made = Presences(torch.tensor([200.0, -200.0, 0.0]))
    assert made.log_probs.isfinite().all()
    torch.testing.assert_close(made.mode, torch.tensor([1.0, 0.0, 0.0]))
    assert made.expand((5, 2)).sample().shape == (5, 2, 3)
