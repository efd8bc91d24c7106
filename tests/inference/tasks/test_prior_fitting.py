"""A prior after the fact, against its known optimum."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyrovae.data import Dataset
from pyrovae.errors import PairError, ShapeError, SupportError
from pyrovae.guides import NormalGuide, VonMisesFisherGuide
from pyrovae.inference import fit_prior, generate
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


class Encoder(nn.Module):
    """loc = W x + b, and the scale 0.5."""

    def __init__(self, dim, latent):
        super().__init__()
        self.linear = nn.Linear(dim, latent)

    def forward(self, x):
        loc = self.linear(x)
        return torch.cat([loc, torch.full_like(loc, 0.5).log()], -1)


def linear():
    """A linear-Gaussian pair and data, for which all moments of the codes are known."""
    x = 1 + 2 * torch.randn(300, 4)
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(4, scale=1.0), nn.Linear(2, 4))
    return model, NormalGuide(Encoder(4, 2)), {"x": x}


def optimum(guide, x):
    """Mean and variance of the aggregate posterior, and the gain of the normal that has them over Normal(0, I).

    E log p(z) is a quadratic of z, so the best normal has these moments; E[z^2] is their known sum.
    """
    q = guide.given(x)
    scale = q.stddev[0].detach()
    mean, variance = q.mean.detach().mean(0), q.mean.detach().var(0, correction=0) + scale**2
    gain = ((mean**2 + variance) - 1 - variance.log()).sum() / 2
    return mean, variance, gain.item()


def test_one_normal_reaches_the_moments_of_the_aggregate_posterior():
    model, guide, data = linear()
    mean, variance, gain = optimum(guide, data["x"])
    prior = priors.MixtureOfNormals(2, 1)
    how = {"optim": (torch.optim.Adam, {"lr": 0.2}), "scheduler": partial(CosineAnnealingLR, T_max=80)}
    how |= {"epochs": 80, "batch_size": 300, "compile": False}
    found = fit_prior(model, guide, data, prior, num_samples=400, **how)
    torch.testing.assert_close(prior().loc[0], mean, rtol=0.05, atol=0.1)
    torch.testing.assert_close(prior().scale[0].square(), variance, rtol=0.15, atol=0.02)
    assert abs(found.gain.value - gain) < 0.03 + 0.02 * gain
    assert found.after.elbo.value - found.before.elbo.value == pytest.approx(found.gain.value, abs=1e-4)
    assert found.after.distortion == found.before.distortion
    assert "gain of the ELBO" in str(found)


@pytest.mark.parametrize("kind", ["mixture", "flow", "vamp"])
def test_no_prior_lowers_the_bound_of_the_training_data(kind):
    model, guide, data = linear()
    build = {
        "mixture": lambda: priors.MixtureOfNormals(2, 5),
        "flow": lambda: priors.FlowPrior(2, 2, (8,)),
        "vamp": lambda: priors.VampPrior(guide.given, data["x"][:20], bounds=None),
    }
    how = {"optim": (torch.optim.Adam, {"lr": 0.02}), "epochs": 15, "compile": False, "num_samples": 50}
    found = fit_prior(model, guide, data, build[kind](), **how)
    assert found.gain.value > 0
    # No prior gains more than KL(aggregate || Normal(0, I)), which is that of the best normal and its own gap.
    assert found.gain.value < 1.2 * optimum(guide, data["x"])[2] + 0.2


def test_networks_modes_and_the_given_model_stay():
    noisy = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 4))
    model, _, data = linear()
    guide = NormalGuide(noisy)
    before = copy.deepcopy([model.state_dict(), guide.state_dict()])
    former, prior = model.prior, priors.MixtureOfNormals(2, 3)
    guide.encoder[1].eval()
    found = fit_prior(model, guide, data, prior, epochs=2, compile=False, num_samples=5)
    for old, now in zip(before, [model.state_dict(), guide.state_dict()], strict=True):
        assert old.keys() == now.keys()
        assert all(torch.equal(value, now[name]) for name, value in old.items())
    assert (model.prior, found.model.prior, found.guide) == (former, prior, guide)
    assert found.model.decoder is model.decoder
    assert [guide.training, guide.encoder[1].training, guide.encoder[2].training] == [True, False, True]
    assert all(parameter.requires_grad for part in (model, guide) for parameter in part.parameters())
    assert generate(found.model, 3).shape == (3, 4)


def test_the_gain_is_that_of_the_test_split():
    model, guide, data = linear()
    parts = {"train": data["x"][:200], "valid": data["x"][200:250], "test": data["x"][250:]}
    dataset = Dataset(**{name: {"x": x} for name, x in parts.items()}, name="given", source="here")
    how = {"epochs": 2, "patience": 1, "compile": False, "num_samples": 5}
    found = fit_prior(model, guide, dataset, priors.FlowPrior(2), **how)
    assert found.per_datum["gain"].shape == (50,)
    assert "elbo" in found.history.rows[0]
    whole = fit_prior(model, guide, dataset, priors.FlowPrior(2), test={"x": parts["train"]}, **how)
    assert whole.per_datum["gain"].shape == (200,)


WITH_PRIORS = ["hierarchy-top-down", "ladder-bottom-up", "text-lstm", "semi-supervised", "flow-prior"]


@pytest.mark.parametrize("name", WITH_PRIORS)
def test_any_pair_of_the_suite_with_a_prior(all_pairs, name):
    pair = all_pairs[name]()
    (dim,) = pair.model.prior().event_shape
    found = fit_prior(pair.model, pair.guide, pair.batch, priors.MixtureOfNormals(dim, 2), epochs=1, compile=False)
    assert found.per_datum["gain"].isfinite().all()
    torch.testing.assert_close(found.after.distortion.value, found.before.distortion.value)


def test_errors(says):
    model, guide, data = linear()
    with says(PairError, "attribute prior", "without"):
        fit_prior(nn.Linear(1, 1), guide, data, priors.MixtureOfNormals(2, 3))
    with says(PairError, "prior with parameters", "StandardNormal"):
        fit_prior(model, guide, data, priors.StandardNormal(2))
    with says(ShapeError, "event shape (2,)", "(3,)"):
        fit_prior(model, guide, data, priors.MixtureOfNormals(3, 3))
    sphere = VAE(priors.UniformOnSphere(2), likelihoods.Normal(4, scale=1.0), nn.Linear(2, 4))
    with says(SupportError, "sphere", "MixtureOfNormals", "real"):
        fit_prior(sphere, VonMisesFisherGuide(MLP(4, 3)), data, priors.MixtureOfNormals(2, 3))
