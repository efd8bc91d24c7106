"""Features, probes and augmentation, where the answers are known."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.data import Scale
from pyrovae.errors import PairError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import encode, reconstruct
from pyrovae.inference.tasks.representation import Accuracy, augment, features, probe
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def test_features_are_the_codes_side_by_side(representative):
    pair = representative
    codes = [z for z in encode(pair.model, pair.guide, pair.batch).values() if z.is_floating_point()]
    assert torch.equal(
        features(pair.model, pair.guide, pair.batch), torch.cat([z.reshape(len(z), -1) for z in codes], 1)
    )


def test_features_of_one_site_alone(ppca, says):
    data = {"x": ppca.data(7)["x"]}
    found = features(ppca.model, ppca.guide(), data, site="z")
    assert torch.allclose(found, ppca.posterior_mean(data["x"]))
    with says(PairError, "'z'", "site='w'"):
        features(ppca.model, ppca.guide(), data, site="w")


def test_labels_are_no_features(says):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("kind", dist.Categorical(torch.ones(3) / 3))

    with says(PairError, "(none)", "labels"):
        features(guide, guide, {"x": torch.zeros(4, 2)})


# ------------------------------------------------------------------------------------------------ the probe


def stripes(size):
    """Four stripes of equal width with the labels 0, 1, 0, 1: no line parts them, the nearest neighbour does."""
    x = torch.rand(size, 2)
    return x, (4 * x[:, 0]).long() % 2


def test_a_linear_probe_finds_what_is_linear_and_neighbours_the_rest():
    (x, y), (x_test, y_test) = stripes(3000), stripes(1000)
    found = probe(x, y, x_test, y_test, k=3)
    assert found.nearest.value > 0.97
    assert found.linear.value < 0.7
    halves, halves_test = (x[:, 1] > 0.5).long(), (x_test[:, 1] > 0.5).long()
    assert probe(x, halves, x_test, halves_test).linear.value > 0.97


def test_without_information_it_is_chance_within_its_error():
    x, x_test, y, y_test = torch.randn(2000, 3), torch.randn(2000, 3), torch.arange(2000) % 4, torch.arange(2000) % 4
    for found in probe(x, y, x_test, y_test):
        assert found.error == pytest.approx((0.25 * 0.75 / 2000) ** 0.5, rel=0.1)
        assert abs(found.value - 0.25) < 4 * found.error


def test_unknown_labels_are_left_out():
    x, y = torch.tensor([[0.0], [1.0], [0.4]]), torch.tensor([0, 1, -1])
    found = probe(x, y, torch.tensor([[0.45], [0.8], [0.0]]), torch.tensor([0, 1, -1]))
    assert found.nearest == Accuracy(1.0, 0.0)
    assert str(found.nearest) == "100.00 ± 0.00 %"


@pytest.mark.parametrize("shapes", [((4,), 4, (3,), 3), ((4, 2), 4, (3, 5), 3), ((4, 2), 3, (3, 2), 3)])
def test_shapes_of_a_probe(shapes, says):
    train, y, test, y_test = shapes
    with says(ShapeError, "(N, D)", str(train)):
        probe(torch.zeros(train), torch.zeros(y), torch.zeros(test), torch.zeros(y_test))


# --------------------------------------------------------------------------------------------- augmentation


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
    monkeypatch.setattr("pyrovae.inference.tasks.representation.CHUNK", 12)
    parts = augment(model, guide, data, 3, stretch=0.0)
    assert all(torch.allclose(whole[name], parts[name], atol=1e-5) for name in whole)


def test_what_augmentation_wants(ppca, says):
    for size, copies in ((3, 0), (0, 3)):
        with says(PairError, f"{size} data", f"copies={copies}"):
            augment(ppca.model, ppca.guide(), {"x": ppca.data(3)["x"][:size]}, copies)
