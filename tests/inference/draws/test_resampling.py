"""Draws that are chosen by their weights, where the posterior is exact."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import NonFiniteError, PairError
from pyrovae.inference import posterior
from pyrovae.inference.draws.draws import LOG_WEIGHT, Key
from pyrovae.inference.draws.plan import Plan
from pyrovae.inference.draws.resampling import corrected_draws, share
from pyrovae.inference.pair.weights import WeightSums


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 900])
def test_corrected_draws_of_a_wrong_guide_are_the_posteriors(ppca, covariances, memory):
    data, guide, count = ppca.data(40), ppca.guide(0.1, 2.0), 500
    wrong = posterior(ppca.model, guide, data, count)
    draws = posterior(ppca.model, guide, data, count, corrected=True, proposals=20_000, memory=memory)
    spread = ppca.covariance.diagonal().sqrt()

    def mean_square(z):
        return ((z.mean(0) - ppca.posterior_mean(data["x"])) / spread * math.sqrt(count)).square().mean()

    def worst(z):
        return (covariances(z).mean(0) / ppca.covariance - 1).abs().max()

    assert mean_square(wrong.latents["z"]) > 5
    assert worst(wrong.latents["z"]) > 2
    # The proposals are worth about 5,000 draws, so nearly all of the error is that of the 500 chosen ones.
    assert abs(mean_square(draws.latents["z"]) - 1) < 4 * math.sqrt(2 / 80)
    assert worst(draws.latents["z"]) < 0.1
    assert draws.corrected
    assert (draws.effective_sample_size > 3000).all()
    estimate = draws.log_weights.logsumexp(0) - math.log(count)
    torch.testing.assert_close(estimate, ppca.evidence.log_prob(data["x"]), rtol=0, atol=0.08)
    expected = dist.Normal(ppca.decode(draws.latents["z"]), ppca.scale).to_event(1).log_prob(data["x"])
    torch.testing.assert_close(draws.log_likelihood, expected)


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 3000])
def test_corrected_draws_of_all_its_latents_are_the_posteriors(own, memory):
    data, count = own.data(), 2000
    draws = posterior(own.model, own.guide, data, count, corrected=True, proposals=40_000, memory=memory)
    mean, of_class = own.posterior(data)
    came = torch.nn.functional.one_hot(draws.latents["c"], 3).double().mean(0)
    error = (1 / count + 1 / draws.effective_sample_size.unsqueeze(-1)).sqrt()
    assert ((came - of_class).abs() < 5 * 0.5 * error).all()
    assert ((draws.latents["u"].mean(0) - mean).abs() < 5 * error.squeeze(-1)).all()


def test_the_share_of_a_part_of_the_draws():
    """The shares of three parts in the sum of their weights add up to one."""
    log_weight = torch.randn(9, 4)
    total, parts = WeightSums.of(log_weight), [WeightSums.of(part) for part in log_weight.split(3)]
    shares = torch.stack([share(part, total) for part in parts])
    torch.testing.assert_close(shares.sum(0), torch.ones(4).double())
    expected = log_weight.double().softmax(0).unflatten(0, (3, 3)).sum(1)
    torch.testing.assert_close(shares, expected)


def test_each_proposal_is_chosen_as_often_as_its_weight_says():
    """Proposals that come in four parts of three, for two data points with different weights."""
    log_weight = torch.randn(12, 2).double()

    def draw(batch, rows, num_samples, common):
        start = draw.start
        draw.start += num_samples
        number = torch.arange(start, draw.start).unsqueeze(-1).expand(-1, rows)
        return {Key("posterior", "z"): number, LOG_WEIGHT: log_weight[start : draw.start]}

    draw.start = 0
    values, weights = corrected_draws(draw, Plan(20_000, 12, 2, 3), {}, slice(0, 2))
    shares = torch.nn.functional.one_hot(values[Key("posterior", "z")], 12).double().mean(0)
    expected = log_weight.softmax(0).T
    assert ((shares - expected).abs() < 5 * (expected * (1 - expected) / 20_000).sqrt()).all()
    torch.testing.assert_close(weights.log_mean, log_weight.logsumexp(0) - math.log(12))
    torch.testing.assert_close(values[LOG_WEIGHT], weights.log_mean.expand(20_000, 2))


# --------------------------------------------------------------------------------------------------- errors


def test_a_latent_of_all_data_has_no_corrected_draws(regression, says):
    with says(PairError, "outside the plate 'data'", "Drop corrected=True"):
        posterior(*regression, {"x": torch.randn(5)}, 3, corrected=True)


@pytest.mark.parametrize("scale", [1.0, math.nan])
def test_weights_that_are_all_zero(scale, says):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Uniform(2.0, 3.0))

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Uniform(0.0, torch.where(x > 1, 4.0, 1.0)))
            pyro.sample("x", dist.Normal(z, torch.where(x > 1, 1.0, scale)), obs=x)

    data = {"x": torch.tensor([2.0, 0.5, 2.0, 0.7])}
    with says(NonFiniteError, "rows [1, 3]", "proposals"):
        posterior(model, guide, data, 3, corrected=True)
    with says(NonFiniteError, "rows [1]", "proposals"):
        posterior(model, guide, data, 3, corrected=True, memory=64 * 128 * 8)
