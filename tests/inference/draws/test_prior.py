"""Draws of the prior and its predictions, where their moments are exact."""

import math

import torch

from pyrovae.errors import PairError, SettingError
from pyrovae.inference import prior, prior_predictive


def test_the_prior_and_its_predictions(ppca, covariances):
    draws = prior_predictive(ppca.model, 20_000, memory=64 * 128 * 5000)
    z, x = draws.latents["z"], draws.predictive["x"]
    assert (z.shape, x.shape) == ((20_000, 1, 2), (20_000, 1, 5))
    assert z.mean(0).abs().max() < 5 / math.sqrt(20_000)
    torch.testing.assert_close(covariances(x)[0], ppca.evidence.covariance_matrix, rtol=0.1, atol=0.1)
    torch.testing.assert_close((x - ppca.decode(z)).std(0), torch.full((1, 5), ppca.scale).double(), rtol=0.05, atol=0)
    assert prior(ppca.model, 5).predictive == {}
    assert draws.log_weights is draws.log_likelihood is draws.effective_sample_size is None


def test_the_prior_given_covariates(own):
    given = {"t": torch.tensor([0.0, 2.0]).double()}
    draws = prior_predictive(own.model, 8000, given=given, memory=64 * 128 * 3000)
    assert draws.predictive["x"].shape == (8000, 2, 3)
    mean = (own.probs * own.offsets).sum() * given["t"]
    assert ((draws.predictive["x"].mean((0, 2)) - mean).abs() < 0.1).all()
    assert torch.equal(draws.given["t"], given["t"])
    assert set(draws.latents) == {"c", "u", "z"}


def test_the_prior_of_latents_of_all_data(regression):
    assert prior(regression[0], 4).latents["b"].shape == (4,)


# --------------------------------------------------------------------------------------------------- errors


def test_the_prior_is_not_given_what_it_draws(ppca, says):
    with says(PairError, "'x'", "given"):
        prior(ppca.model, 3, given=ppca.data(2))


def test_no_samples_and_no_data(ppca, says):
    for num_samples in (0, 1.5, "3"):
        with says(SettingError, "num_samples requires a whole number of at least 1"):
            prior(ppca.model, num_samples)
    with says(PairError, "prior requires", "empty"):
        prior(ppca.model, 5, given={"y": torch.zeros(0)})


def test_no_site_at_all_is_refused_unless_there_are_predictions(ppca, says):
    with says(PairError, "prior requires something to keep", "sites=None"):
        prior(ppca.model, 4, sites=[])
    draws = prior(ppca.model, 4, sites=[], predictive=True)
    assert not draws.latents
    assert draws.group("prior_predictive")["x"].shape == (4, 1, 5)
