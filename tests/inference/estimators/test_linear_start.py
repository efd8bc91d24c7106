"""Estimators start at the linear model that is nested in theirs, and do not lose to it on linear data."""

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from pyrovae import data
from pyrovae.guides import NormalGuide
from pyrovae.inference import VAEDetector, VAEImputer, VAETransformer, evaluate, factor_analysis
from pyrovae.inference.estimators.columns import table_pair
from pyrovae.inference.estimators.linear_start import start_linear
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks import FactorPosterior, SkipMLP

WIDTH, FACTORS = 6, 2
EXACT = {"num_samples": 4, "seed": 0, "transform": lambda batch: batch}


def normal(seed=0):
    """A normal whose covariance is that of two factors."""
    generator = torch.Generator().manual_seed(seed)
    loadings = torch.randn(WIDTH, FACTORS, generator=generator, dtype=torch.float64)
    noise = torch.linspace(0.3, 1.0, WIDTH, dtype=torch.float64).square()
    return MultivariateNormal(torch.arange(1.0, WIDTH + 1).double(), loadings @ loadings.T + noise.diag())


def rows(size, seed=0):
    """Draws of the normal."""
    root = torch.linalg.cholesky(normal().covariance_matrix)
    noise = torch.randn(size, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return normal().loc + noise @ root.T


@pytest.mark.parametrize("mode", ["each", "predicted"])
def test_the_start_is_factor_analysis_exactly(mode):
    x = rows(300)
    likelihood = likelihoods.Normal(WIDTH, mode).double()
    decoder = SkipMLP(FACTORS, likelihood.params_shape, (8,)).double()
    encoder = SkipMLP(WIDTH, 2 * FACTORS, (8,)).double()
    start_linear(decoder, encoder, likelihood, x)
    model = VAE(priors.StandardNormal(FACTORS), likelihood, decoder)
    found = evaluate(model, NormalGuide(encoder), {"x": x}, **EXACT)
    exact = factor_analysis(x, FACTORS).log_evidence(x)
    torch.testing.assert_close(found.per_datum["log_evidence"], exact, rtol=0, atol=1e-4)
    assert found.log_evidence.value - found.elbo.value < 1e-4  # the guide is the posterior


def test_other_columns_start_at_their_marginals():
    x = torch.cat([rows(300), (rows(300)[:, :1] > 1).double()], 1)
    likelihood = likelihoods.Heterogeneous(
        {"reals": likelihoods.Normal(WIDTH, "each"), "few": likelihoods.Categorical(1, 2)}
    ).double()
    decoder = SkipMLP(FACTORS, likelihood.params_shape, (8,)).double()
    encoder = SkipMLP(WIDTH + 1, 2 * FACTORS, (8,)).double()
    start_linear(decoder, encoder, likelihood, x)
    found = evaluate(VAE(priors.StandardNormal(FACTORS), likelihood, decoder), NormalGuide(encoder), {"x": x}, **EXACT)
    share = (x[:, -1].sum() + 1) / 302
    marginal = torch.where(x[:, -1] == 1, share, 1 - share).log()
    exact = factor_analysis(x[:, :-1], FACTORS).log_evidence(x[:, :-1]) + marginal
    torch.testing.assert_close(found.per_datum["log_evidence"], exact, rtol=0, atol=1e-4)


def test_the_encoder_of_gaps_is_the_marginal_posterior():
    x = rows(40)
    mask = data.mcar(x, 0.4, seed=0)
    found = factor_analysis(x, FACTORS, mask)
    network = FactorPosterior(WIDTH, FACTORS).double()
    network.start_at(found.loc, found.loadings, found.scale)
    seen = torch.where(mask, x, 0.0)
    emitted = NormalGuide(network).posterior(network(torch.cat([seen, mask.double()], 1)))
    mean, covariance = found.posterior(x, mask)
    torch.testing.assert_close(emitted.mean, mean)
    torch.testing.assert_close(emitted.stddev, covariance.diagonal(dim1=1, dim2=2).sqrt())
    stacked = network(torch.stack([torch.cat([seen, mask.double()], 1)] * 3))
    torch.testing.assert_close(stacked[1], network(torch.cat([seen, mask.double()], 1)))


def test_a_table_with_gaps_starts_at_the_linear_model():
    x = rows(200)
    mask = data.mcar(x, 0.3, seed=0)
    gaps = torch.where(mask, x, torch.nan).numpy()
    imputer = VAEImputer(latent_dim=FACTORS, hidden=(8,), epochs=1, num_particles=2, random_state=0, compile=False)
    table = imputer.fit(gaps).table_
    batch = table.encode(gaps)
    model, guide = table_pair(table, batch, FACTORS, (8,), 0)
    found = evaluate(model, guide, batch, num_samples=4000, seed=0)
    exact = factor_analysis(batch["x"], FACTORS, batch["mask"]).log_evidence(batch["x"], batch["mask"])
    assert found.log_evidence.value == pytest.approx(exact.mean().item(), abs=0.01)


@pytest.mark.slow
def test_on_linear_data_the_transformer_reaches_the_closed_form():
    train, test = rows(400, seed=1), rows(2000, seed=2)
    exact = normal().log_prob(test).mean().item()
    settings = {"latent_dim": FACTORS, "hidden": (16,), "epochs": 20, "random_state": 0, "device": "cpu"}
    assert VAETransformer(**settings).fit(train.numpy()).score(test.numpy()) == pytest.approx(exact, abs=0.1)


def test_an_early_start_is_kept_where_training_does_not_help():
    """With a learning rate that ruins the pair, the start wins on the held-out rows, and no epoch is run."""
    settings = {"latent_dim": FACTORS, "hidden": (16,), "epochs": 3, "patience": 2, "random_state": 0, "device": "cpu"}
    fitted = VAETransformer(**settings, learning_rate=3.0, compile=False).fit(rows(200).numpy())
    assert fitted.history_.rows == ()
    exact = normal().log_prob(rows(500, seed=3)).mean().item()
    assert fitted.score(rows(500, seed=3).numpy()) == pytest.approx(exact, abs=0.2)


def test_a_small_table_trains_for_all_epochs():
    few = VAEDetector(epochs=3, hidden=(4,), random_state=0, device="cpu", compile=False).fit(rows(20).numpy())
    assert len(few.history_.rows) == 3
    every = VAEDetector(epochs=3, hidden=(4,), random_state=0, device="cpu", compile=False, validation_fraction=0.0)
    assert len(every.fit(rows(60).numpy()).history_.rows) == 3
    assert np.isfinite(every.score_samples(rows(5).numpy())).all()
