"""Codes, reconstructions, generated data and paths, where all means are exact."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.guides import NormalGuide
from pyrovae.inference import (
    encode,
    generate,
    latent_map,
)
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def conditional(x=None, y=None, *, size=None):
    """p(x | z, y), with two levels: z1 given z2."""
    with pyro.plate("data", len(x) if size is None else size, dim=-1):
        z2 = pyro.sample("z2", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        z1 = pyro.sample("z1", dist.Normal(2 * z2, 1.0).to_event(1))
        return pyro.sample("x", dist.Normal(z1 + y.unsqueeze(-1), 0.1).to_event(1), obs=x)


def conditional_guide(x, y):
    with pyro.plate("data", len(x), dim=-1):
        z2 = pyro.sample("z2", dist.Normal(x, 1.0).to_event(1))
        pyro.sample("z1", dist.Normal(z2 + y.unsqueeze(-1), 1.0).to_event(1))


def scaled():
    """x = z + noise of scale 3, 0.1, 1: rates rise with the precision. The guide is exact."""
    noise = torch.tensor([3.0, 0.1, 1.0])

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, noise).to_event(1), obs=x)

    def guide(x):
        precision = 1 + noise**-2
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x * noise**-2 / precision, precision**-0.5).to_event(1))

    return model, guide, (1 + noise**-2).log() / 2  # the mutual information of x and z


def test_a_plane_is_its_own_map(ppca):
    data = ppca.data(4000)
    found = latent_map(ppca.model, ppca.guide(), data)
    assert found.axes == ("z₁", "z₂")
    torch.testing.assert_close(found.mean, ppca.posterior_mean(data["x"]))
    for points in (found.posterior, found.prior):  # of an exact guide the aggregate posterior is the prior
        torch.testing.assert_close(points.T.cov(), torch.eye(2).double(), rtol=0, atol=0.1)


def test_a_linear_map_is_a_plane_in_the_latent_space():
    model, guide, _ = scaled()
    data = {"x": generate(model, 2000, mean=False)}
    found = latent_map(model, guide, data)
    z = encode(model, guide, data)["z"]
    torch.testing.assert_close(found.mean, found.plane.project(z))
    torch.testing.assert_close(found.plane.project(found.plane.lift(found.mean)), found.mean)
    lifted = found.plane.lift(found.mean)
    assert (lifted - z)[:, 0].abs().max() > 10 * (lifted - z)[:, 1].abs().max()  # the noisy dimension is left out


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_map_repeats_by_its_seed(method):
    model, guide, _ = scaled()
    data = {"x": generate(model, 40, mean=False)}
    one, same, other = (latent_map(model, guide, data, method=method, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.posterior, same.posterior)
    assert not torch.equal(one.posterior, other.posterior)
    assert one.mean.shape == one.prior.shape == (40, 2)


def test_a_map_of_one_level_under_a_condition(says):
    data = {"x": torch.randn(300, 2), "y": torch.arange(300.0)}
    found = latent_map(conditional, conditional_guide, data, latent="z1")
    torch.testing.assert_close(found.mean, data["x"] + data["y"].unsqueeze(-1))
    torch.testing.assert_close(found.prior.std(0), torch.full((2,), math.sqrt(5)), rtol=0.15, atol=0)
    with says(PairError, "several latent sites"):
        latent_map(conditional, conditional_guide, data)


def test_a_map_without_a_prior(says):
    model, guide = VAE(priors.Flat(2), likelihoods.Normal(3), MLP(2, 3)), NormalGuide(MLP(3, 4))
    data = {"x": torch.randn(4, 3)}
    with says(PairError, "flat prior is improper"):
        latent_map(model, guide, data)
    assert latent_map(model, guide, data, prior=False).prior is None
