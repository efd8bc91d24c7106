"""What the tests of likelihoods share: sums and integrals of densities of one entry."""

import pytest
import torch


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def dtype(request):
    return request.param


@pytest.fixture
def masses():
    """p(x) at each value, for likelihoods of one entry: `masses(likelihood, params, values)`, `(V,)`."""

    def at(likelihood, params, values):
        x = values.to(params.dtype).unsqueeze(-1)
        return likelihood(params.expand(len(x), *params.shape)).log_prob(x).exp()

    return at


@pytest.fixture
def integral():
    """Simpson's rule along the last dimension, in float64: `integral(values, grid)`."""

    def simpson(values, grid):
        weight = torch.ones_like(grid)
        weight[1:-1:2], weight[2:-1:2] = 4, 2
        return (values.double() * weight.double()).sum(-1) * (grid[1] - grid[0]).double() / 3

    return simpson


@pytest.fixture
def grey_levels():
    """All stored grey levels, in [0, 1]."""
    return torch.arange(256) / 255
