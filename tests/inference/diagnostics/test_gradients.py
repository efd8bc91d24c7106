"""The noise of gradients, where the gradient is known."""

import math

import pyro
import pytest
import torch
from torch import nn

from pyrovae.errors import DataError, NonFiniteError, PairError, SettingError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import ELBO, IWAE, GradientNoise, gradient_error, gradient_noise
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks import MLP


@pytest.fixture
def pair():
    """p(x | z) = Normal(x; z, 1), so p(z | x) = Normal(x / 2, 1 / 2); the guide is Normal(x / 2 + 1, 1 / 2)."""
    decoder, encoder = nn.Identity().requires_grad_(False), nn.Linear(1, 2).double()
    with torch.no_grad():
        encoder.weight[:, 0] = torch.tensor([0.5, 0.0])
        encoder.bias[0], encoder.bias[1] = 1.0, 7 * math.atanh(-math.log(2) / 2 / 7)
    model = VAE(priors.StandardNormal(1).double(), likelihoods.Normal(1, scale=1.0).double(), decoder)
    return model, NormalGuide(encoder), {"x": torch.zeros(1, 1).double()}


def test_the_signal_is_the_gradient_of_the_exact_bound(pair):
    """-ELBO = (loc - x/2)^2 + scale^2 - log scale + ...: at x = 0, 2 in loc, 0 in log scale, none in x's weight."""
    model, guide, batch = pair
    noise = gradient_noise(model, guide, batch, ELBO(num_particles=50), num_samples=400)
    assert noise.norm == pytest.approx(2, rel=0.05)
    assert noise.signal_to_noise == noise.norm / noise.scale


def test_noise_falls_with_the_root_of_the_particles(pair):
    few, many = (gradient_noise(*pair, ELBO(num_particles=n), num_samples=400) for n in (4, 64))
    assert few.scale / many.scale == pytest.approx(4, rel=0.15)


def test_doubly_reparameterised_gradients_have_the_same_signal_and_less_noise(pair):
    plain, dreg = (gradient_noise(*pair, IWAE(8, gradient=g), num_samples=600) for g in ("plain", "dreg"))
    assert dreg.norm == pytest.approx(plain.norm, rel=0.15)
    assert dreg.scale < 0.7 * plain.scale


def test_sticking_the_landing_has_no_noise_at_the_posterior(pair):
    model, guide, batch = pair
    with torch.no_grad():
        guide.encoder.bias[0] = 0.0
    noise = gradient_noise(model, guide, batch, IWAE(1, gradient="stl"), num_samples=50)
    assert noise.scale < 1e-6
    assert noise.norm < 1e-6
    assert gradient_noise(model, guide, batch, ELBO(), num_samples=50).scale > 0.1


def test_it_disturbs_nothing(pair):
    before = torch.get_rng_state()
    one, two = (gradient_noise(*pair, ELBO(), num_samples=5) for _ in range(2))
    assert one == two
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in pair[1].parameters())
    assert not list(pyro.get_param_store())


def test_one_draw_has_no_variance(pair, says):
    with says(SettingError, "num_samples", "at least 2, got 1"):
        gradient_noise(*pair, ELBO(), num_samples=1)


def test_the_table_of_gradient_noise():
    assert str(GradientNoise(3.0, 2.0)).split() == ["norm", "3", "scale", "2", "signal", "to", "noise", "1.5"]
    assert str(GradientNoise(3.0, 0.0)).endswith("-")
    with pytest.raises(AttributeError):
        GradientNoise(3.0, 2.0).norm = 1.0


def test_a_batch_of_another_kind_is_refused_by_name(says):
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(3, 0.5), MLP(2, (3,), [4]))
    guide, x = NormalGuide(MLP((3,), 4, [4])), torch.randn(8, 3)
    for batch, error in (
        ({"x": x * torch.nan}, NonFiniteError),
        ({"x": x[0]}, ShapeError),
        ({"x": x[:, :2]}, ShapeError),
        ({"x": x[:0]}, PairError),
        ({"x": x.double()}, DataError),
        ([x], DataError),
    ):
        with pytest.raises(error):
            gradient_noise(model, guide, batch, ELBO(), num_samples=2)
    with says(NonFiniteError, "requires finite gradients", "check_pair"):
        gradient_noise(model, guide, {"x": x * 1e30}, ELBO(), num_samples=2)


def test_the_error_of_a_gradient_against_the_exact_one(pair):
    """The reference has gradient 2 in loc and 0 elsewhere; a rate weighted by 2 adds its own gradient, 2 in loc too.

    KL = (loc^2 + scale^2) / 2 - log scale + ...; at loc 1 and scale^2 = 1/2 its gradient is 1 in loc, and -1/2 in
    log scale times d log scale / d raw.
    """
    model, guide, batch = pair
    same = gradient_error(model, guide, batch, ELBO(10), ELBO(50), num_samples=60)
    assert same.norm == pytest.approx(2, rel=0.1)
    assert same.bias < 2.5 * same.noise
    assert same.scale == pytest.approx(gradient_noise(model, guide, batch, ELBO(10), num_samples=60).scale)
    doubled = gradient_error(model, guide, batch, ELBO(50, kl_weight=2.0), ELBO(50), num_samples=60)
    rate = torch.distributions.kl_divergence(guide.given(batch["x"]).base_dist, torch.distributions.Normal(0.0, 1.0))
    wanted = torch.cat([g.flatten() for g in torch.autograd.grad(rate.sum(), list(guide.parameters()))])
    assert doubled.bias == pytest.approx(wanted.norm().item(), rel=0.15)


def test_the_reference_is_an_objective(pair, says):
    with says(SettingError, "objective requires an Objective"):
        gradient_error(*pair, ELBO(), None)
