"""Small pairs as functions, whose codes and means are known."""

import pyro
import pyro.distributions as dist
import pytest
import torch


@pytest.fixture
def conditional():
    """p(x | z1, y) p(z1 | z2) p(z2): two levels of latents, given y."""

    def model(x=None, y=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z2 = pyro.sample("z2", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            z1 = pyro.sample("z1", dist.Normal(2 * z2, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z1 + y.unsqueeze(-1), 0.1).to_event(1), obs=x)

    return model


@pytest.fixture
def conditional_guide():
    """q(z2 | x) with mean x, and q(z1 | z2, y) with mean z2 + y."""

    def guide(x, y):
        with pyro.plate("data", len(x), dim=-1):
            z2 = pyro.sample("z2", dist.Normal(x, 1.0).to_event(1))
            pyro.sample("z1", dist.Normal(z2 + y.unsqueeze(-1), 1.0).to_event(1))

    return guide


@pytest.fixture
def scaled():
    """A model x = z + noise of scale 3, 0.1, 1, its exact guide, and the mutual information of x and z by dimension."""
    noise = torch.tensor([3.0, 0.1, 1.0])

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, noise).to_event(1), obs=x)

    def guide(x):
        precision = 1 + noise**-2
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x * noise**-2 / precision, precision**-0.5).to_event(1))

    return model, guide, (1 + noise**-2).log() / 2


@pytest.fixture
def labelled():
    """A pair whose only latent is a label."""

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            k = pyro.sample("k", dist.Categorical(logits=torch.zeros(3)))
            return pyro.sample("x", dist.Normal(k.unsqueeze(-1).float(), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("k", dist.Categorical(logits=torch.zeros(3)))

    return model, guide
