"""Diagonal normals: of parameters that a network emits, and the product of several."""

import math

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.errors import PairError, SettingError
from pyrovae.models import ConditionalNormal
from pyrovae.models.distributions import precision_weighted
from pyrovae.networks.dense import MLP


@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_loc_and_bounded_scale_are_the_halves_of_what_the_network_says(lead):
    conditional, h = ConditionalNormal(MLP(3, 8, (4,))), torch.randn(*lead, 3)
    p = conditional(h)
    loc, raw = conditional.network(h).chunk(2, -1)
    assert (p.batch_shape, p.event_shape) == (lead, (4,))
    torch.testing.assert_close(p.base_dist.loc, loc)
    torch.testing.assert_close(p.base_dist.scale, torch.exp(7 * torch.tanh(raw / 7)))


def test_a_smaller_bound_of_the_scale(says):
    p = ConditionalNormal(nn.Identity(), bound=2.0)(torch.tensor([0.0, 0, 0, -1000, 0.5, 1000]))
    torch.testing.assert_close(p.base_dist.scale.log(), torch.tensor([-2.0, 2 * math.tanh(0.25), 2.0]))
    with says(SettingError, "bound", "above 0"):
        ConditionalNormal(nn.Identity(), bound=0.0)


def test_a_spatial_normal_splits_channels():
    p = ConditionalNormal(nn.Identity(), event_dim=3)(torch.arange(2 * 4 * 3 * 5.0).reshape(2, 4, 3, 5) / 1000)
    assert (p.batch_shape, p.event_shape) == ((2,), (2, 3, 5))
    assert p.base_dist.loc[0, 1, 0, 0] == pytest.approx(0.015)
    assert math.log(p.base_dist.scale[0, 0, 0, 0]) == pytest.approx(0.03, rel=1e-3)


# ------------------------------------------------------------------------------------ products of normals


def test_a_product_of_normals_is_normal_up_to_a_constant():
    loc, scale = torch.randn(2, 4, 3).double(), torch.rand(2, 4, 3).double() + 0.2
    parts = [dist.Normal(m, s).to_event(1) for m, s in zip(loc, scale, strict=True)]
    merged = precision_weighted(*parts)
    z = torch.randn(50, 4, 3).double()
    ratio = merged.log_prob(z) - sum(part.log_prob(z) for part in parts)
    torch.testing.assert_close(ratio, ratio[:1].expand(50, 4))
    assert (merged.base_dist.scale < scale.min(0).values).all()


def test_a_vague_message_leaves_the_prior():
    prior, vague = dist.Normal(torch.ones(3), 0.5).to_event(1), dist.Normal(torch.full((3,), 9.0), 1e3).to_event(1)
    merged = precision_weighted(prior, vague)
    torch.testing.assert_close(merged.base_dist.loc, torch.ones(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(merged.base_dist.scale, torch.full((3,), 0.5), rtol=0, atol=1e-4)


def test_what_is_not_normal_is_not_merged(says):
    with says(PairError, "requires diagonal normals", "got a Laplace", "ConditionalNormal", "BottomUpGuide"):
        precision_weighted(dist.Normal(0.0, 1.0), dist.Laplace(0.0, 1.0))
