"""Flows: the density of a transformed vector, of draws and of any other value."""

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.models.distributions import Flow
from pyrovae.networks.bijections import Coupling, InverseAutoregressive


def flow(context=()):
    steps = [InverseAutoregressive(3, 2, (6,)) if context else Coupling(3, (6,)) for _ in range(2)]
    for step in steps:
        for parameter in step.double().parameters():
            nn.init.normal_(parameter, std=0.3)
    return Flow(dist.Normal(torch.zeros(3).double(), 0.7).to_event(1), steps, *context)


@pytest.mark.parametrize("context", [(), (torch.ones(2).double(),)], ids=["couplings", "autoregressive"])
def test_the_density_is_that_of_the_base_over_the_jacobian(context):
    p, u = flow(context), torch.randn(3).double()

    def push(u):
        for step in p.steps:
            u, _ = step(u, *context)
        return u

    log_det = torch.autograd.functional.jacobian(push, u).slogdet().logabsdet
    torch.testing.assert_close(p.log_prob(push(u)), p.base.log_prob(u) - log_det)


def test_a_draw_is_scored_as_any_value():
    p = flow().expand((4, 5))
    z = p.rsample((2,))
    assert (p.batch_shape, p.event_shape) == ((4, 5), (3,))
    assert z.shape == (2, 4, 5, 3)
    torch.testing.assert_close(p.log_prob(z), p.log_prob(z.clone()))


def test_the_mean_is_that_of_draws():
    p = Flow(dist.Normal(torch.tensor([3.0, -1.0]), 1e-3).to_event(1), [])
    torch.testing.assert_close(p.mean, torch.tensor([3.0, -1.0]), rtol=0, atol=1e-3)
