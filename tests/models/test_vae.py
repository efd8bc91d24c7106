"""The VAE: p(x, z) = p(z) p(x | z), with data and without."""

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.errors import PairError
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


@pytest.fixture
def model():
    return VAE(priors.StandardNormal(2), likelihoods.Bernoulli((1, 3, 3)), MLP(2, (1, 3, 3), (4,)))


def test_its_joint_density_is_prior_times_likelihood(model):
    x, z = torch.rand(5, 1, 3, 3).round(), torch.randn(5, 2)
    trace = poutine.trace(poutine.condition(model, {"z": z})).get_trace(x=x)
    prior = dist.Normal(0, 1).log_prob(z).sum(-1)
    likelihood = dist.Bernoulli(logits=model.decoder(z)).log_prob(x).sum((1, 2, 3))
    trace.compute_log_prob()
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], prior)
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], likelihood)
    assert trace.log_prob_sum().item() == pytest.approx((prior + likelihood).sum().item(), rel=1e-5)


def test_with_data_it_returns_and_observes_them(model):
    x = torch.rand(5, 1, 3, 3).round()
    trace = poutine.trace(model).get_trace(x=x)
    assert trace.nodes["x"]["is_observed"]
    assert not trace.nodes["z"]["is_observed"]
    assert trace.nodes["_RETURN"]["value"] is x


def test_it_generates_without_data(model):
    x = model(size=16)
    assert x.shape == (16, 1, 3, 3)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(x, model(size=16))
    torch.manual_seed(3)
    first = model(size=4)
    torch.manual_seed(3)
    assert torch.equal(model(size=4), first)


def test_generated_data_follow_the_decoder(model):
    """E[x] = E_z[sigmoid(decoder(z))], within five standard errors."""
    draws = model(size=4000).mean(0)
    expected = model.decoder(torch.randn(4000, 2)).sigmoid().mean(0)
    assert (draws - expected).abs().max().item() < 5 * (0.25 / 4000 * 2) ** 0.5


def test_its_sites_are_in_the_data_plate(model):
    for name, site in poutine.trace(model).get_trace(size=7).nodes.items():
        if name in ("z", "x"):
            (frame,) = site["cond_indep_stack"]
            assert (frame.name, frame.dim, frame.size) == ("data", -1, 7)


def test_neither_data_nor_size(model, says):
    with says(PairError, "data or a size", "model(x=batch)", "model(size=16)"):
        model()


def test_a_size_that_is_not_that_of_the_data(model, says):
    with says(PairError, "size=5", "3 data points"):
        model(torch.zeros(3, 1, 3, 3), size=5)


def test_no_data(model, says):
    with says(PairError, "at least 1", "size=0"):
        model(size=0)
    with says(PairError, "at least 1", "0 data points"):
        model(torch.zeros(0, 1, 3, 3))


def test_repr_names_the_parts(model):
    text = repr(model)
    for part in ("VAE", "StandardNormal(2)", "Bernoulli((1, 3, 3))", "MLP"):
        assert part in text
