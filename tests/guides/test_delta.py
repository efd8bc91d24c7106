"""The point-mass guide: its pairs are deterministic autoencoders."""

import math

import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.guides import DeltaGuide
from pyrovae.inference import check_pair, encode, evaluate, fit, generate, reconstruct
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def autoencoder(scale=0.5, prior=None):
    return VAE(prior or priors.Flat(2), likelihoods.Normal(5, scale=scale), MLP(2, 5, ())), DeltaGuide(MLP(5, 2, ()))


def test_its_code_is_the_encoders_output():
    model, guide = autoencoder()
    x = torch.randn(4, 5)
    assert torch.equal(guide(x), guide.encoder(x))
    assert torch.equal(encode(model, guide, {"x": x})["z"], guide.encoder(x))
    torch.testing.assert_close(reconstruct(model, guide, {"x": x}), model.decoder(guide.encoder(x)))


def test_under_a_flat_prior_the_loss_is_the_squared_error():
    """-log Normal(x; f, s) = |x - f|^2 / (2 s^2) + D log(s sqrt(2 pi))."""
    (model, guide), x = autoencoder(scale=0.5), torch.randn(4, 5)
    check_pair(model, guide, {"x": x})
    measured = evaluate(model, guide, {"x": x}, num_samples=3, transform=lambda batch: batch)
    squares = (model.decoder(guide.encoder(x)) - x).square().sum(-1)
    expected = (squares / (2 * 0.25) + 5 * math.log(0.5 * math.sqrt(2 * math.pi))).mean().item()
    assert measured.rate.value == 0
    assert measured.distortion.value == pytest.approx(expected, rel=1e-5)
    assert measured.elbo.value == pytest.approx(-expected, rel=1e-5)


def test_a_linear_autoencoder_finds_the_principal_plane(ppca, captured_only):
    """The least squared error of a linear autoencoder is the variance off the principal axes (Baldi & Hornik 1989)."""
    x = ppca.data(400)["x"].float()
    x = x - x.mean(0)
    model, guide = autoencoder()
    lr = (torch.optim.Adam, {"lr": 0.03})
    fit(model, guide, {"x": x}, epochs=60, batch_size=100, optim=lr, transform=lambda batch: batch, progress=False)
    left_out = torch.linalg.svdvals(x)[2:].square().sum() / x.numel()
    error = (reconstruct(model, guide, {"x": x}) - x).square().mean()
    assert left_out <= error * 1.0001 <= 1.03 * left_out


def test_a_flat_prior_has_nothing_to_draw_from(says):
    model, _ = autoencoder()
    with says(PairError, "flat", "StandardNormal"):
        generate(model, 3)


def test_a_proper_prior_penalises_codes():
    (model, guide), x = autoencoder(prior=priors.StandardNormal(2)), torch.randn(4, 5)
    measured = evaluate(model, guide, {"x": x}, num_samples=1, transform=lambda batch: batch)
    z = guide.encoder(x)
    expected = (z.square().sum(-1) / 2 + math.log(2 * math.pi)).mean().item()
    assert measured.rate.value == pytest.approx(expected, rel=1e-5)
    assert generate(model, 3).shape == (3, 5)
