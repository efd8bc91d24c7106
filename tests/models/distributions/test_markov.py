"""Markov chains: the density of a path, the rate of a draw, and the mean."""

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import kl_divergence

from pyrovae.models import GatedTransition
from pyrovae.models.distributions import Flow, Markov
from pyrovae.networks.bijections import InverseAutoregressive


def test_the_rate_of_a_draw_has_the_rate_as_its_mean(chain, ragged):
    start, within = torch.zeros(1).double(), ragged["within"]
    q = Markov(chain.posterior_step, start, within, chain.messages(ragged["x"], within)).expand((20_000, 4))
    p = Markov(chain.step, start, within)
    z = q.rsample()
    closed, sampled = kl_divergence(q, p), q.log_prob(z) - p.log_prob(z)
    assert closed.std(0).max() < sampled.std(0).max()
    error = (closed - sampled).std(0) / 20_000**0.5
    assert ((closed.mean(0) - sampled.mean(0)).abs() < 4 * error + 1e-9).all()
    assert kl_divergence(Markov(chain.step, start, within), p).abs().max() < 1e-12


def test_a_draw_is_scored_as_any_value(ragged):
    """The density of a draw is the same by its kept steps, by steps computed again, and by one step at a time."""
    transition = GatedTransition(3, 5).double()
    markov = Markov(transition, torch.randn(3).double(), ragged["within"]).expand((2, 4))
    z = markov.rsample()
    assert z.shape == (2, 4, 6, 3)
    assert not z[..., ~ragged["within"], :].any()
    torch.testing.assert_close(markov.log_prob(z), markov.log_prob(z.clone()))
    before, total = markov.start, 0.0
    for t in range(4):
        total = total + transition(before).log_prob(z[:, 2, t])
        before = z[:, 2, t]
    torch.testing.assert_close(markov.log_prob(z)[:, 2], total)


def test_a_draw_by_flows_is_scored_as_any_value(chain):
    flow = InverseAutoregressive(3, 2, (8,)).double()
    within = torch.tensor([[True, True, False], [True, True, True]])
    h = torch.randn(2, 3, 2).double()

    def step(z, h):
        return Flow(dist.Normal(0.5 * z, 1.0).to_event(1), [flow], h)

    markov = Markov(step, torch.zeros(3).double(), within, h).expand((5, 2))
    z = markov.rsample()
    torch.testing.assert_close(markov.log_prob(z), markov.log_prob(z.clone()))
    with pytest.raises(NotImplementedError):
        kl_divergence(markov, Markov(chain.step, torch.zeros(3).double(), within))


def test_the_mean_is_the_path_of_means(chain):
    within = torch.tensor([[True, True, True, False]])
    mean = Markov(chain.step, torch.ones(2), within).mean
    torch.testing.assert_close(mean, torch.tensor([[[chain.A] * 2, [chain.A**2] * 2, [chain.A**3] * 2, [0, 0]]]))
