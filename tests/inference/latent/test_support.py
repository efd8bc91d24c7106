"""Codes that are decoded lie in the support of the latent."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints

from pyrovae.inference import traverse
from pyrovae.inference.latent.support import Support

PRIORS = {
    "gamma": (dist.Gamma(torch.ones(4), 1.0).to_event(1), "box"),
    "beta": (dist.Beta(torch.ones(4), 2.0).to_event(1), "box"),
    "lognormal": (dist.LogNormal(torch.zeros(4), 1.0).to_event(1), "box"),
    "dirichlet": (dist.Dirichlet(torch.ones(4)), "simplex"),
    "sphere": (dist.ProjectedNormal(torch.tensor([1.0, 0, 0, 0])), "sphere"),
    "normal": (dist.Normal(torch.zeros(4), 1.0).to_event(1), "real"),
    "matrix": (dist.Normal(torch.zeros(2, 2), 1.0).to_event(2), "real"),
    "full": (dist.MultivariateNormal(torch.zeros(4), torch.eye(4)), "real"),
}


def pair(prior):
    """A pair whose guide is its prior, so that codes are spread as the prior is."""

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", prior).flatten(-prior.event_dim)
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", prior)

    return model, guide, {"x": torch.zeros(200, 4)}


@pytest.mark.parametrize(("prior", "kind"), PRIORS.values(), ids=PRIORS)
def test_a_traversal_stays_within_the_support(prior, kind):
    model, guide, data = pair(prior)
    assert Support.of(model, guide, data, "z").kind == kind
    code = None if kind != "sphere" else {"z": torch.tensor([0.6, 0.8, 0.0, 0.0])}  # without a mean
    walk = traverse(model, guide, data, code=code, extent=2.5, num_steps=7)
    assert prior.support.check(walk.codes).all()
    torch.testing.assert_close(
        walk.codes.flatten(2).gather(-1, torch.tensor(walk.dims)[:, None, None].expand(-1, 7, 1)).squeeze(-1),
        walk.values,
    )
    assert (walk.values.diff(dim=1) >= 0).all()


def test_values_are_quantiles_that_agree_with_standard_deviations_of_a_normal():
    z = torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 3.0]) + 5
    t = torch.linspace(-2, 2, 5)
    torch.testing.assert_close(Support("box").positions(z, t), Support("real").positions(z, t), atol=0.06, rtol=0)


def test_the_rest_of_a_simplex_shares_what_is_left():
    codes, moved = torch.tensor([[0.5, 0.2, 0.3], [0.4, 0.0, 0.0]]), torch.tensor([[True, False, False]]).expand(2, 3)
    expected = torch.tensor([[0.5, 0.2, 0.3], [0.4, 0.3, 0.3]])
    torch.testing.assert_close(Support("simplex").completed(codes, moved), expected)
    further = torch.tensor([[0.9, 0.2, 0.3]])
    torch.testing.assert_close(Support("simplex").completed(further, moved[:1]), torch.tensor([[0.9, 0.04, 0.06]]))


def test_the_nearest_code():
    seen = torch.tensor([[0.1, 0.2], [2.0, 3.0]])
    codes = torch.tensor([[-1.0, 5.0], [1.0, 1.0]])
    assert Support("real").nearest(codes, seen) is codes
    torch.testing.assert_close(Support("box").nearest(codes, seen), torch.tensor([[0.1, 3.0], [1.0, 1.0]]))
    shares = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    near = Support("simplex").nearest(torch.tensor([[-1.0, 5.0], [0.5, 0.5], [-1.0, -1.0]]), shares)
    assert constraints.simplex.check(near).all()
    arc = Support("sphere").nearest(torch.tensor([[3.0, 4.0]]), torch.tensor([[-1.0, -1.0], [5.0, 5.0]]))
    torch.testing.assert_close(arc, torch.tensor([[0.6, 0.8]]))
