"""The flow prior: a density, near the standard normal at the start."""

import copy

import torch
from torch import nn

from pyrovae.errors import ShapeError
from pyrovae.models.priors import FlowPrior, StandardNormal


def test_it_is_a_density(is_a_density):
    prior = FlowPrior(2, 3, (6,))
    for parameter in prior.parameters():  # away from the identity
        nn.init.normal_(parameter, std=0.2)
    is_a_density(prior.double())


def test_it_starts_near_the_normal_and_can_be_copied_after_use():
    prior, z = FlowPrior(6), torch.randn(100, 6)
    normal = StandardNormal(6)().log_prob(z)
    assert (prior().log_prob(z) - normal).abs().mean() < 0.2 * normal.abs().mean()
    prior().rsample((3,))
    torch.testing.assert_close(copy.deepcopy(prior)().log_prob(z), prior().log_prob(z))


def test_a_flow_of_one_dimension(says):
    with says(ShapeError, "dim >= 2", "dim=1"):
        FlowPrior(1)
