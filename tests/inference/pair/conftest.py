"""A small pair as two functions, and as two modules, each test of which breaks one thing."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.guides import NormalGuide
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

SIZE, LATENT, DIM = 8, 2, 3


def normal(loc, events=1):
    return dist.Normal(loc, 1.0).to_event(events)


@pytest.fixture
def batch():
    return {"x": torch.randn(SIZE, DIM)}


@pytest.fixture
def model():
    """p(z) = Normal(0, I), p(x | z) = Normal(sum(z), I), with an argument for all that a test may break."""

    def model(x=None, *, size=None, name="z", latent=LATENT, plate=None, x_name="x", prior=None, px=normal):
        with plate or pyro.plate("data", size or len(x), dim=-1):
            z = pyro.sample(name, prior or normal(torch.zeros(latent)))
            return pyro.sample(x_name, px(z.sum(-1, keepdim=True).expand(*z.shape[:-1], DIM)), obs=x)

    return model


@pytest.fixture
def guide():
    """q(z | x) = Normal(x_1, I)."""

    def guide(x, name="z", latent=LATENT, plate=None, events=1, obs=None):
        with plate or pyro.plate("data", len(x), dim=-1):
            return pyro.sample(name, normal(x[..., :1].expand(*x.shape[:-1], latent), events), obs=obs)

    return guide


@pytest.fixture
def vae():
    """How a model with a dense decoder is built."""

    def vae(likelihood=None, dim=DIM, latent=LATENT):
        likelihood = likelihood or likelihoods.Normal(dim, scale=0.5)
        return VAE(priors.StandardNormal(latent), likelihood, MLP(latent, likelihood.params_shape, (4,)))

    return vae


@pytest.fixture
def encoder():
    """How a guide with a dense encoder is built."""
    return lambda dim=DIM, latent=LATENT: NormalGuide(MLP(dim, 2 * latent, (4,)))
