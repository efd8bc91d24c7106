"""Augmentation: draws around data have the moments of the posterior, and what the model is given stays."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.data import Scale
from pyrovae.errors import PairError, SettingError
from pyrovae.guides import NormalGuide
from pyrovae.inference import augment, encode, reconstruct
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


@pytest.mark.parametrize("stretch", [1.0, 2.0])
def test_draws_around_data_have_the_moments_of_the_posterior(ppca, stretch):
    data = {"x": ppca.data(5)["x"], "y": torch.arange(5)}
    drawn = augment(ppca.model, ppca.guide(), data, 4000, stretch=stretch)
    assert torch.equal(drawn["y"], torch.arange(5).repeat(4000))
    x = drawn["x"].unflatten(0, (4000, 5))
    centre = ppca.decode(ppca.posterior_mean(data["x"]))
    variance = stretch**2 * (ppca.weight @ ppca.covariance @ ppca.weight.T).diag()
    assert ((x.mean(0) - centre).abs() < 5 * (variance / 4000).sqrt()).all()
    assert x.var(0) == pytest.approx(variance.expand(5, -1), rel=0.15)


def test_a_draw_of_the_likelihood_has_its_noise_too(ppca):
    data = {"x": ppca.data(5)["x"]}
    x = augment(ppca.model, ppca.guide(), data, 4000, mean=False)["x"].unflatten(0, (4000, 5))
    variance = (ppca.weight @ ppca.covariance @ ppca.weight.T).diag() + ppca.scale**2
    assert x.var(0) == pytest.approx(variance.expand(5, -1), rel=0.15)


def test_without_stretch_it_reconstructs_any_pair(representative):
    pair = representative
    drawn = augment(pair.model, pair.guide, pair.batch, 2, stretch=0.0)
    assert {name: tensor.shape[1:] for name, tensor in drawn.items()} == {n: t.shape[1:] for n, t in pair.batch.items()}
    codes = [encode(pair.model, pair.guide, pair.batch, seed=seed) for seed in (0, 1)]
    if all(torch.equal(z, codes[1][name]) for name, z in codes[0].items()) and "y" not in codes[0]:
        assert torch.allclose(drawn["x"][:6], drawn["x"][6:])
        assert torch.allclose(drawn["x"][:6], reconstruct(pair.model, pair.guide, pair.batch), atol=1e-5)


def test_chunks_and_grey_levels(monkeypatch):
    shape = (1, 4, 3)
    model = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(shape, relaxed=True), MLP(2, shape))
    guide = NormalGuide(MLP(shape, 4))
    data = {"x": torch.randint(256, (6, *shape), dtype=torch.uint8), "y": torch.arange(6)}
    whole = augment(model, guide, data, 3, stretch=0.0)
    assert torch.allclose(whole["x"][:6], reconstruct(model, guide, data, transform=Scale()), atol=1e-5)
    monkeypatch.setattr("pyrovae.inference.tasks.augmentation.ROWS", 12)
    parts = augment(model, guide, data, 3, stretch=0.0)
    assert all(torch.allclose(whole[name], parts[name], atol=1e-5) for name in whole)


def test_what_augmentation_requires(ppca, says):
    with says(PairError, "augment requires", "empty batch"):
        augment(ppca.model, ppca.guide(), {"x": ppca.data(3)["x"][:0]})
    for num_copies in (0, -1, 1.5, None):
        with says(SettingError, "num_copies requires a whole number of at least 1"):
            augment(ppca.model, ppca.guide(), ppca.data(3), num_copies)
    with says(SettingError, "stretch requires a finite number"):
        augment(ppca.model, ppca.guide(), ppca.data(3), stretch=float("inf"))


@pytest.mark.parametrize("site", ["x", "w"])
def test_the_model_is_given_what_is_at_no_site_of_it(site):
    """Of two observed sites neither is given, whichever is asked for; the offset is."""

    def model(x=None, w=None, offset=None, *, size=None):
        with pyro.plate("data", size or len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            w = pyro.sample("w", dist.Normal(z + offset, 0.1).to_event(1), obs=w)
            pyro.sample("x", dist.Normal(10 * w, 0.1).to_event(1), obs=x)

    def guide(x, w, offset):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(w - offset, 0.1).to_event(1))

    data = {"x": torch.zeros(4, 2), "w": torch.zeros(4, 2), "offset": 100 + torch.rand(4, 2)}
    drawn = augment(model, guide, data, 50, site=site)
    assert torch.equal(drawn["offset"], data["offset"].repeat(50, 1))
    spread, loc = torch.std_mean(drawn[site].unflatten(0, (50, 4)), 0)
    assert (spread > 0.05).all()
    assert (loc.abs() < spread).all()


def test_the_bar_is_shown_and_changes_nothing(ppca, capsys):
    data = ppca.data(30)
    quiet = augment(ppca.model, ppca.guide(), data)
    assert "data point" not in capsys.readouterr().err
    assert torch.equal(augment(ppca.model, ppca.guide(), data, progress=True)["x"], quiet["x"])
    assert "30/30" in capsys.readouterr().err
