"""Simulated data have the model's distribution, and their latents are exact draws from the posterior."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.pair.simulation import simulate
from pyrovae.inference.pair.tracing import sites

MANY = 20_000


def test_latents_are_exact_draws_of_the_posterior(ppca):
    """A regression of z on x finds E[z | x], and its residuals have the covariance of p(z | x) at any x."""
    data, trace = simulate("sandwich", ppca.model, ppca.guide(), MANY, {}, 0)
    x, z = data["x"] - ppca.loc, sites(trace)["z"]["value"]
    slopes = torch.linalg.lstsq(x, z).solution.T
    torch.testing.assert_close(slopes, ppca.regression, rtol=0, atol=0.02)
    residual = z - x @ ppca.regression.T
    torch.testing.assert_close(residual.mean(0), torch.zeros(2).double(), rtol=0, atol=0.02)
    torch.testing.assert_close(torch.cov(residual.T), ppca.covariance, rtol=0, atol=0.01)
    far = x.norm(dim=1) > x.norm(dim=1).median()
    torch.testing.assert_close(torch.cov(residual[far].T), ppca.covariance, rtol=0, atol=0.02)


def test_data_have_the_distribution_of_the_model(ppca):
    data, _ = simulate("sandwich", ppca.model, ppca.guide(), MANY, {}, 0)
    torch.testing.assert_close(data["x"].mean(0), ppca.loc, rtol=0, atol=0.06)
    torch.testing.assert_close(torch.cov(data["x"].T), ppca.evidence.covariance_matrix, rtol=0, atol=0.15)


def test_a_seed_decides_and_the_global_state_stays(ppca):
    before = torch.get_rng_state()
    one, same, other = (simulate("sandwich", ppca.model, ppca.guide(), 5, {}, seed)[0]["x"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def conditional(x=None, y=None, *, size=None):
    with pyro.plate("data", len(x) if size is None else size, dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z + 10 * y, 0.1), obs=x)


def guide(x, y=None):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(0.0, 1.0))


def test_what_the_model_conditions_on_is_passed_on():
    y = torch.arange(9.0)
    data, trace = simulate("calibration", conditional, guide, 5, {"y": y}, 0)
    assert torch.equal(data["y"], y[:5])
    assert (data["x"] - 10 * y[:5] - sites(trace)["z"]["value"]).abs().max() < 1


def test_inner_plates_follow_the_data():
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("columns", 3, dim=-2):
                pyro.sample("x", dist.Normal(z, 0.1), obs=None if x is None else x.T)

    assert simulate("calibration", model, guide, 5, {}, 0)[0]["x"].shape == (5, 3)


@pytest.mark.parametrize("what", ["calibration", "sandwich"])
def test_a_model_that_cannot_simulate(what, says):
    with says(PairError, f"{what} requires a model with an argument size", "size=None"):
        simulate(what, lambda x: None, guide, 5, {}, 0)


def test_too_few_rows_are_given(says):
    with says(ShapeError, "requires 5 rows of 'y'", "got 4", "num_simulations=4"):
        simulate("calibration", conditional, guide, 5, {"y": torch.zeros(4)}, 0)


def test_a_model_that_observes_another_value(says):
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 0.1), obs=None if x is None else x / 2)

    with says(PairError, "observes its argument 'x' at site 'x'", "another value", "obs=x"):
        simulate("calibration", model, guide, 5, {}, 0)
