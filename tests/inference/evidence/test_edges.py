"""Draws that a number format clamps make estimates wrong, and both tables say so."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.inference import evaluate
from pyrovae.inference.diagnostics import diagnose


def pair(guide_fn, prior):
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", prior).to(torch.float64)
            return pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", guide_fn.expand([len(x)]))

    return model, guide


def gammas(concentration, dtype):
    one = torch.ones(3, dtype=dtype)
    return pair(dist.Gamma(concentration * one, one).to_event(1), dist.Gamma(one, one).to_event(1))


DATA = {"x": torch.ones(50, 1, dtype=torch.float64)}


def as_it_is(batch):
    return batch


def test_gamma_draws_that_float32_clamps_are_told():
    measured = evaluate(*gammas(0.02, torch.float32), DATA, num_samples=50, transform=as_it_is)
    assert measured.edges["z"] == pytest.approx(0.17, abs=0.05)  # P(z < 1.2e-38) = exp(-87.3 * 0.02) / Gamma(1.02)
    assert "% of the draws of z" in str(measured)
    assert "model.double()" in str(measured)
    found = diagnose(*gammas(0.02, torch.float32), DATA, num_samples=100, num_simulations=0, transform=as_it_is)
    closed, by_draws = found["rate of z"], found["rate of z by draws"]
    assert by_draws.good is False
    assert by_draws.value < closed.value - 1
    assert by_draws.value == pytest.approx(measured.rate.value, abs=4 * (measured.rate.error + by_draws.error))
    assert f"{closed.value:.2f} in closed form" in by_draws.verdict


@pytest.mark.parametrize(("concentration", "dtype"), [(0.02, torch.float64), (2.0, torch.float32)])
def test_draws_within_the_number_format_are_not(concentration, dtype):
    pairs = gammas(concentration, dtype)
    measured = evaluate(*pairs, DATA, num_samples=50, transform=as_it_is)
    assert measured.edges == {}
    assert "number format" not in str(measured)
    found = diagnose(*pairs, DATA, num_samples=200, num_simulations=0, transform=as_it_is)
    assert found.latents["z"].by_draws is None
    assert all(verdict.name != "rate of z by draws" for verdict in found.verdicts)


@pytest.mark.parametrize(
    "fn", [dist.Beta(torch.tensor([0.02, 0.5]), 0.02).to_event(1), dist.Dirichlet(torch.tensor([0.01, 0.01, 1.0]))]
)
def test_other_bounded_latents(fn):
    flat = dist.Beta(torch.ones(2), 1.0).to_event(1) if fn.event_shape[0] == 2 else dist.Dirichlet(torch.ones(3))
    assert evaluate(*pair(fn, flat), DATA, num_samples=5, transform=as_it_is).edges["z"] > 0.05
    assert evaluate(*pair(flat, flat), DATA, num_samples=5, transform=as_it_is).edges == {}


def test_the_numbers_of_an_evaluation_do_not_depend_on_the_look_at_the_edge(ppca, monkeypatch):
    data = ppca.data(20)
    first = evaluate(ppca.model, ppca.guide(0.5), data, num_samples=10)
    monkeypatch.setattr("pyrovae.inference.evidence.estimates.at_the_edge", lambda pair: {})
    assert evaluate(ppca.model, ppca.guide(0.5), data, num_samples=10).elbo == first.elbo
    assert first.edges == {}
