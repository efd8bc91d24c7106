"""Conversion of latents into one unconstrained vector and back, with its Jacobian."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.inference.evidence.vector import LatentVector
from pyrovae.inference.pair.handlers import PutValues


def program():
    """A vector, a positive number, and two points of a simplex in a plate, for each of 3 data points."""
    with pyro.plate("data", 3, dim=-1):
        pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
        pyro.sample("rate", dist.Gamma(torch.tensor(2.0).double(), 1.0))
        with pyro.plate("parts", 2, dim=-2):
            pyro.sample("probs", dist.Dirichlet(torch.ones(3).double()))


def drawn(num_chains):
    with pyro.plate("samples", num_chains, dim=-3):
        return poutine.trace(program).get_trace()


@pytest.fixture
def vector():
    trace = poutine.trace(program).get_trace()
    return LatentVector({name: trace.nodes[name] for name in ("z", "rate", "probs")}, 2)


def test_the_numbers_of_each_site(vector):
    """A point of a simplex of three has two free numbers."""
    trace = drawn(5)
    u = vector.pack(trace, 5)
    assert (vector.names, vector.dim, u.shape) == (["z", "rate", "probs"], 2 + 1 + 2 * 2, (5, 3, 7))
    assert torch.equal(u[..., :2], trace.nodes["z"]["value"].squeeze(1))
    torch.testing.assert_close(u[..., 2].exp(), trace.nodes["rate"]["value"].squeeze(1))


@pytest.mark.parametrize("num_chains", [1, 5])
def test_the_values_come_back(vector, num_chains):
    before = drawn(num_chains)
    u = vector.pack(before, num_chains)
    values = vector.at(u)
    with pyro.plate("samples", num_chains, dim=-3), PutValues(values.value_of):
        after = poutine.trace(program).get_trace()
    for name in vector.names:
        expected = before.nodes[name]["value"]
        torch.testing.assert_close(after.nodes[name]["value"].expand_as(expected), expected)


def test_the_jacobian(vector):
    """log |dz/du| of the free numbers of each site, by automatic differentiation."""
    u = vector.pack(drawn(2), 2)

    def free(u):
        """The values for one chain and data point, without the last number of each point of a simplex."""
        whole = vector.at(u.expand(2, 3, -1))
        with pyro.plate("samples", 2, dim=-3), PutValues(whole.value_of):
            nodes = poutine.trace(program).get_trace().nodes
        parts = nodes["z"]["value"][0, 0, 0], nodes["rate"]["value"][0, 0, :1], nodes["probs"]["value"][0, :, 0, :-1]
        return torch.cat([part.flatten() for part in parts])

    values = vector.at(u)
    with pyro.plate("samples", 2, dim=-3), PutValues(values.value_of):
        poutine.trace(program).get_trace()
    jacobian = torch.autograd.functional.jacobian(free, u[1, 2])
    torch.testing.assert_close(values.log_det[1, 2], jacobian.slogdet().logabsdet)
