"""Guides on the unit sphere, against a model whose posterior is a von Mises-Fisher."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from pyrovae.errors import PairError, ShapeError
from pyrovae.guides import PowerSphericalGuide, VonMisesFisherGuide
from pyrovae.inference import ELBO, annealed, decode, encode, evaluate, fit, great_circle, nuts, path, posterior
from pyrovae.inference.latent.codes import decode_at_means
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.models.distributions import VonMisesFisher
from pyrovae.models.distributions.sphere import log_area

SCALE, DIM = 0.5, 3


class Exact(nn.Module):
    """The parameters of p(z | x): the direction of x, and the inverse of `1 + bounded_scale` at |x| / scale^2."""

    def forward(self, x):
        k = x.norm(dim=-1, keepdim=True) / SCALE**2
        return torch.cat([x, 9 * torch.atanh((k - 1).log() / 9)], -1)


def model():
    """p(z) uniform on the sphere, p(x | z) = Normal(x; z, scale^2): p(z | x) proportional to exp(x . z / scale^2)."""
    return VAE(priors.UniformOnSphere(DIM), likelihoods.Normal(DIM, scale=SCALE), nn.Identity())


def test_the_exact_posterior_has_the_exact_evidence():
    x = 1.5 * normalize(torch.randn(6, DIM), dim=-1)
    found = evaluate(model(), VonMisesFisherGuide(Exact()), {"x": x}, num_samples=30)
    k = x.norm(dim=-1).double() / SCALE**2
    # In three dimensions E[exp(k w)] = sinh(k) / k under the uniform distribution.
    log_mean = k - math.log(2) + torch.log1p(-(-2 * k).exp()) - k.log()
    square = (x.double().square().sum(-1) + 1) / (2 * SCALE**2)
    wanted = log_mean - square - DIM / 2 * math.log(2 * math.pi * SCALE**2)
    torch.testing.assert_close(found.per_datum["log_evidence"], wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.per_datum["elbo"], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", [VonMisesFisherGuide, PowerSphericalGuide])
def test_a_guide_that_is_trained_comes_near_to_the_evidence(family):
    torch.manual_seed(1)
    data = {"x": dist.Normal(normalize(torch.randn(60, DIM), dim=-1), SCALE).sample()}
    guide, encoder = family(nn.Linear(DIM, DIM + 1)), (torch.optim.Adam, {"lr": 0.1})
    fit(model(), guide, data, epochs=80, loss=ELBO(), optim=encoder, compile=False, progress=False)
    found = evaluate(model(), guide, data, num_samples=100)
    assert found.log_evidence.value - 0.12 < found.elbo.value <= found.log_evidence.value


@pytest.mark.parametrize("family", [VonMisesFisherGuide, PowerSphericalGuide])
def test_codes_draws_and_great_circles_are_on_the_sphere(family):
    x, guide = {"x": torch.randn(5, DIM)}, family(nn.Linear(DIM, DIM + 1))
    on_sphere = guide.given(x["x"]).support.check
    codes = encode(model(), guide, x)
    assert on_sphere(codes["z"]).all()
    for kind in (None, great_circle):
        ends = [{"z": codes["z"][i]} for i in (0, 1)]
        walk = path(*ends, 20) if kind is None else path(*ends, 20, kind=kind)
        assert on_sphere(walk["z"]).all()
        assert decode(model(), walk).shape == (20, DIM)
    assert on_sphere(posterior(model(), guide, x, 10).latents["z"].flatten(0, 1)).all()


def test_tools_that_walk_in_all_of_space_say_so(says):
    guide, x = VonMisesFisherGuide(Exact()), {"x": torch.ones(1, DIM)}
    for tool in (nuts, annealed):
        with says(PairError, "biject_to", "VonMisesFisher", "site 'z'"):
            tool(model(), guide, x)
    with says(PairError, "SphericalUniform", "Hold it at a code"):
        decode_at_means(model(), 1, {}, {}, "x")


def test_the_concentration_is_bounded():
    guide = VonMisesFisherGuide(nn.Identity())
    low, high = guide.posterior(torch.tensor([[1.0, 0.0, -1e9], [1.0, 0.0, 1e9]])).concentration
    assert low > 1
    assert high < 8105


@pytest.mark.parametrize("family", [VonMisesFisherGuide, PowerSphericalGuide])
def test_too_few_outputs(family, says):
    with says(ShapeError, family.__name__, "D + 1", "got 2"):
        family(nn.Identity()).posterior(torch.ones(4, 2))


def test_the_family_is_a_site_of_pyro():
    with pyro.plate("data", 4):
        z = pyro.sample("z", VonMisesFisher(normalize(torch.ones(3), dim=-1), torch.tensor(2.0)))
    assert z.shape == (4, 3)
    assert priors.UniformOnSphere(3)().log_prob(z).tolist() == [pytest.approx(-log_area(3))] * 4
