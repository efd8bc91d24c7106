"""Pairs of several latents whose p(x) is exact, for annealed importance sampling and for the sandwich."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor


class ExactPair(NamedTuple):
    model: Callable
    guide: Callable
    log_evidence: Callable[[dict[str, Tensor]], Tensor]


@pytest.fixture
def two_supports():
    """A rate on the half line and a vector on the simplex: p(x, y) is negative binomial times categorical."""
    scale, prior = 0.8, torch.tensor([1.0, 2.0, 0.5]).double()

    def model(x=None, y=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            rate = pyro.sample("rate", dist.Gamma(torch.tensor(2.0).double(), scale))
            pyro.sample("x", dist.Poisson(rate), obs=x)
            probs = pyro.sample("probs", dist.Dirichlet(prior))
            pyro.sample("y", dist.Categorical(probs), obs=y)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("probs", dist.Dirichlet(1.5 * torch.ones(3).double()))
            pyro.sample("rate", dist.LogNormal((x + 1).log(), torch.tensor(0.8).double()))

    def log_evidence(data):
        exact = dist.NegativeBinomial(2.0, probs=torch.tensor(1 / (1 + scale)).double()).log_prob(data["x"])
        return exact + (prior / prior.sum()).log()[data["y"]]

    return ExactPair(model, guide, log_evidence)


@pytest.fixture
def two_modes():
    """z = +-|z|, of which only |z| is measured: two modes, far apart, and a guide that visits one of them."""
    prior, noise = 1.5, 0.3

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(()).double(), prior))
            pyro.sample("x", dist.Normal(z.abs(), noise), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.95 * x, noise))

    def log_evidence(data):
        variance = prior**2 + noise**2
        inside = torch.special.log_ndtr(data["x"] * prior / (noise * math.sqrt(variance)))
        return dist.Normal(0.0, math.sqrt(variance)).log_prob(data["x"]) + math.log(2) + inside

    return ExactPair(model, guide, log_evidence)


@pytest.fixture
def mixture():
    """c decides the prior of z, and two measurements are in a plate of their own."""
    probs, centres = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([-1.0, 0.4, 2.0]).double()

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            c = pyro.sample("c", dist.Categorical(probs), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(centres[c], 0.5))
            with pyro.plate("measurements", 2, dim=-2):
                shift = pyro.sample("shift", dist.Normal(torch.zeros(()).double(), 0.3))
                pyro.sample("x", dist.Normal(z + shift, 0.7), obs=None if x is None else x.T)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.mean(-1), 0.6))
            with pyro.plate("measurements", 2, dim=-2):
                pyro.sample("shift", dist.Normal(torch.zeros(()).double(), 0.4))

    def log_evidence(data):
        noise = (0.7**2 + 0.3**2) * torch.eye(2).double()
        normals = dist.MultivariateNormal(centres.unsqueeze(-1).expand(3, 2), 0.25 + noise)
        return (normals.log_prob(data["x"].unsqueeze(-2)) + probs.log()).logsumexp(-1)

    return ExactPair(model, guide, log_evidence)
