"""Priors of shares: the Dirichlet density, and its Laplace approximation."""

import pytest
import torch

from pyrovae.errors import SettingError
from pyrovae.models.priors import Dirichlet, LogisticNormal


def test_a_dirichlet_has_its_density_and_its_moments():
    a = torch.tensor([0.5, 1.0, 2.5], dtype=torch.float64)
    p = Dirichlet(3, a.tolist()).double()()
    z = p.sample((1,))[0]
    exact = ((a - 1) * z.log()).sum() + a.sum().lgamma() - a.lgamma().sum()
    torch.testing.assert_close(p.log_prob(z), exact)
    torch.testing.assert_close(p.sample((40_000,)).mean(0), a / a.sum(), rtol=0.03, atol=0)


def test_a_dirichlet_sums_to_one():
    at = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    p = Dirichlet(2, [1.5, 2.0]).double()()
    assert p.log_prob(torch.stack([at, 1 - at], -1)).exp().mean().item() == pytest.approx(1, abs=1e-4)


def test_a_logistic_normal_is_the_laplace_approximation():
    """Mode and curvature of the density of h, softmax(h) ~ Dirichlet(a), over the h that sum to 0."""
    a = torch.tensor([0.4, 1.0, 2.5, 0.7], dtype=torch.float64)
    mode = a.log() - a.log().mean()
    log_density = lambda h: (a * h.log_softmax(-1)).sum()  # noqa: E731  the Jacobian raises z^(a - 1) to z^a
    gradient = torch.autograd.functional.jacobian(log_density, mode)
    covariance = torch.linalg.pinv(-torch.autograd.functional.hessian(log_density, mode), rtol=1e-10)
    p = LogisticNormal(4, a.tolist()).double()()
    torch.testing.assert_close(gradient, torch.zeros(4).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(p.mean, mode, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(p.variance, covariance.diagonal(), rtol=1e-5, atol=0)


def test_its_shares_are_nearly_those_of_the_dirichlet():
    z = LogisticNormal(5, 2.0)().sample((50_000,)).softmax(-1)
    exact = Dirichlet(5, 2.0)()
    torch.testing.assert_close(z.mean(0), exact.mean, rtol=0.02, atol=0)
    torch.testing.assert_close(z.var(0), exact.variance, rtol=0.3, atol=0)


@pytest.mark.parametrize("prior", [Dirichlet, LogisticNormal])
def test_shares_require_two_parts_and_positive_concentrations(prior, says):
    with says(SettingError, "dim", "2", "1"):
        prior(1)
    with says(SettingError, "concentration", "above 0", "-0.5"):
        prior(3, -0.5)
    with says(SettingError, "concentration", "3 parts", "got 2"):
        prior(3, [1.0, 2.0])


@pytest.mark.parametrize("prior", [Dirichlet, LogisticNormal])
def test_they_follow_their_module_and_have_no_state(prior):
    built = prior(3, 0.5).double()
    assert built().sample().dtype == torch.float64
    assert not built.state_dict()
    assert repr(built) == f"{prior.__name__}(3, concentration=0.5)"
    assert repr(prior(2, [0.5, 1.0])) == f"{prior.__name__}(2, concentration=0.5 to 1)"
