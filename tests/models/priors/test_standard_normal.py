"""The standard normal prior."""

import math

import torch

from pyrovae.models.priors import StandardNormal


def test_its_density_is_its_formula():
    z = torch.randn(6, 3)
    p = StandardNormal(3)()
    assert (p.batch_shape, p.event_shape) == ((), (3,))
    torch.testing.assert_close(p.log_prob(z), -(z.square() + math.log(2 * math.pi)).sum(-1) / 2)


def test_it_is_a_density(is_a_density):
    is_a_density(StandardNormal(2).double())


def test_it_follows_its_module_and_has_no_state():
    prior = StandardNormal(3).double()
    assert prior().sample().dtype == torch.float64
    assert not prior.state_dict()
    assert repr(prior) == "StandardNormal(3)"
