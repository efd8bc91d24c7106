"""Mixtures of diagonal normals, computed by matrix products."""

import pyro.distributions as dist
import pytest
import torch

from pyrovae.models.distributions import DiagonalMixture


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0])
def test_a_mixture_by_products_is_torchs_mixture(scale):
    loc, scales, logits = 3 * torch.randn(50, 40), scale * (0.5 + torch.rand(50, 40)), torch.randn(50)
    z = loc[torch.arange(20)] + scales[:20] * torch.randn(20, 40)
    components = dist.Normal(loc.double(), scales.double()).to_event(1)
    exact = torch.distributions.MixtureSameFamily(dist.Categorical(logits=logits.double()), components)
    mixed = DiagonalMixture(loc, scales, logits)
    torch.testing.assert_close(mixed.log_prob(z).double(), exact.log_prob(z.double()), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(mixed.mean.double(), exact.mean, rtol=1e-4, atol=1e-5)


def test_a_value_far_from_all_components_has_a_finite_density_and_gradient():
    loc = torch.zeros(3, 2, requires_grad=True)
    log_prob = DiagonalMixture(loc, torch.full((3, 2), 1e-3), torch.zeros(3)).log_prob(torch.full((1, 2), 1e3))
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert loc.grad.isfinite().all()
