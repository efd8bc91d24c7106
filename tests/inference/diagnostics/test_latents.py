"""Rates, activity, moments and correlation of latent dimensions, against exact ones."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.inference.diagnostics import diagnose


def test_rates_activity_and_moments_are_the_exact_ones(two_dimensions):
    x = torch.randn(400, 1)
    latent = diagnose(*two_dimensions(0.5), {"x": x}, num_samples=500, num_simulations=0).latents["z"]
    rate = (0.25 + x[:, 0].square() - 1) / 2 - math.log(0.5)
    assert latent.how == "closed form, from factors"
    torch.testing.assert_close(latent.rate.float(), torch.stack([rate, torch.zeros(400)], 1))
    assert latent.rate_error.max() < 1e-6
    assert latent.active.tolist() == [True, False]
    assert latent.activity[0].item() == pytest.approx(x.var().item(), rel=0.02)
    assert latent.activity[1] < 1e-3  # without the noise of the draws, 1 / 500
    torch.testing.assert_close(latent.variance.mean(0), torch.tensor([0.25, 1.0]).double(), rtol=0.02, atol=0)
    assert latent.aggregate_variance[0].item() == pytest.approx(0.25 + x.var().item(), rel=0.03)


def test_rates_by_draws_are_within_their_errors():
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Laplace(torch.zeros(2), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.StudentT(5.0, x, 1.0).to_event(1))

    x = torch.randn(50, 2)
    diagnosis = diagnose(model, guide, {"x": x}, num_samples=4000, num_simulations=0)
    latent = diagnosis.latents["z"]
    assert latent.how == "by draws, from factors"
    q, p = dist.StudentT(5.0, x, 1.0), dist.Laplace(0.0, 1.0)
    grid = torch.linspace(-60, 60, 12_001)[:, None, None]
    exact = (q.log_prob(grid).exp() * (q.log_prob(grid) - p.log_prob(grid))).sum(0) * 0.01
    off = (latent.rate - exact) / latent.rate_error
    assert off.abs().max() < 5
    assert 0.8 < off.std() < 1.25
    assert diagnosis["rate of z"].error > 0


def test_the_marginals_of_a_correlated_guide(ppca):
    diagnosis = diagnose(ppca.model, ppca.guide(), ppca.data(5), num_samples=50, num_simulations=0)
    latent, mean = diagnosis.latents["z"], diagnosis.latents["z"].mean
    assert latent.how == "closed form, from marginals"
    variance = ppca.covariance.diagonal()
    exact = (variance + mean.square() - 1 - variance.log()) / 2
    torch.testing.assert_close(latent.rate, exact, rtol=0, atol=0.3)  # the mean is that of 50 draws
    assert diagnosis["rate of z"].value == pytest.approx(latent.rate.sum(-1).mean().item())


def test_correlation_over_all_data(two_dimensions):
    """Two latents that copy x and -x, with noise."""
    model, _ = two_dimensions(1.0)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.cat([x, -x], -1), 0.5).to_event(1))

    diagnosis = diagnose(model, guide, {"x": torch.randn(2000, 1)}, num_samples=21, num_simulations=0)
    assert diagnosis.latents["z"].correlation[0, 1].item() == pytest.approx(-1 / 1.25, abs=0.04)
    line = diagnosis["correlation in z"]
    assert (line.good, "z[0] and z[1]" in line.verdict) == (False, True)


def test_the_table_of_a_latent(two_dimensions):
    found = diagnose(*two_dimensions(0.5), {"x": torch.randn(50, 1)}, num_samples=50, num_simulations=0)
    head, first, second, last = str(found.latents["z"]).splitlines()
    assert head.split() == ["dimension", "rate", "mean", "variance", "activity"]
    assert first.endswith("active")
    assert not second.endswith("active")
    assert last == "means over the data points; rate in nats, closed form, from factors"


def test_the_table_of_many_dimensions_is_cut():
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(30), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z[..., :1], 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.expand(-1, 30), 0.5).to_event(1))

    found = diagnose(model, guide, {"x": torch.randn(9, 1)}, num_samples=25, num_simulations=25)
    for table in (repr(found.latents["z"]), repr(found.calibration)):
        lines = table.splitlines()
        assert lines[0].startswith("dimension")
        assert lines[21] == "and 10 more"
    assert repr(found) == str(found)
