"""The normal that a network predicts."""

import math

import pytest
import torch
from torch import nn

from pyrovae.models import ConditionalNormal
from pyrovae.networks.dense import MLP


@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_loc_and_bounded_scale_are_the_halves_of_what_the_network_says(lead):
    conditional, h = ConditionalNormal(MLP(3, 8, (4,))), torch.randn(*lead, 3)
    p = conditional(h)
    loc, raw = conditional.network(h).chunk(2, -1)
    assert (p.batch_shape, p.event_shape) == (lead, (4,))
    torch.testing.assert_close(p.base_dist.loc, loc)
    torch.testing.assert_close(p.base_dist.scale, torch.exp(7 * torch.tanh(raw / 7)))


def test_a_spatial_normal_splits_channels():
    p = ConditionalNormal(nn.Identity(), event_dim=3)(torch.arange(2 * 4 * 3 * 5.0).reshape(2, 4, 3, 5) / 1000)
    assert (p.batch_shape, p.event_shape) == ((2,), (2, 3, 5))
    assert p.base_dist.loc[0, 1, 0, 0] == pytest.approx(0.015)
    assert math.log(p.base_dist.scale[0, 0, 0, 0]) == pytest.approx(0.03, rel=1e-3)
