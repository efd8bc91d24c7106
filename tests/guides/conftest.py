"""What the tests of guides share: posteriors that are known and far from normal, and the training of a guide."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.inference import SVI, evaluate


def pair_of(statistic, observed, scale):
    """p(z) = Normal(0, I) on the plane, p(x | z) = Normal(x; statistic(z), scale), and log p(x) at x = observed."""

    def model(x=None, *, size=None):
        with pyro.plate("data", size or len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(statistic(z), scale), obs=x)

    line = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    joint = dist.Normal(0.0, 1.0).log_prob(grid).sum(-1) + dist.Normal(statistic(grid), scale).log_prob(observed)
    return model, observed, (joint.logsumexp(0) + 2 * (line[1] - line[0]).log()).item()


@pytest.fixture
def folded():
    """The model, x and log p(x): a posterior of two modes, because x is |z_1| and the sign is lost."""
    return pair_of(lambda z: z[..., 0].abs(), torch.tensor(1.5), 0.5)


@pytest.fixture
def bent():
    """The model, x and log p(x): a posterior along a parabola."""
    return pair_of(lambda z: z[..., 1] - 2 * z[..., 0].square(), torch.tensor(-1.5), 0.3)


class Constant(nn.Module):
    """An encoder that learns one posterior, whatever x is."""

    def __init__(self, *params):
        super().__init__()
        self.params = nn.Parameter(torch.tensor(params))

    def forward(self, x):
        return self.params.expand(*x.shape, -1)


@pytest.fixture
def constant():
    return Constant


@pytest.fixture
def trained():
    """Train a guide on one data point, 16 draws a step, and return its ELBO."""

    def train(model, guide, observed, steps=500):
        data = {"x": observed.expand(16)}
        svi = SVI(model, guide, (torch.optim.Adam, {"lr": 0.02}), compile=False)
        svi.steps(data, steps, order=torch.arange(16).expand(steps, 16))
        return evaluate(model, guide, data, num_samples=500, compile=False).elbo.value

    return train
