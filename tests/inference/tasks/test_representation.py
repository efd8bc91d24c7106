"""Features and probes, where the answers are known."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.data import Scale
from pyrovae.errors import PairError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import encode
from pyrovae.inference.tasks.representation import Accuracy, features, probe
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def test_features_are_the_codes_concatenated(representative):
    pair = representative
    codes = [z for z in encode(pair.model, pair.guide, pair.batch).values() if z.is_floating_point()]
    assert torch.equal(
        features(pair.model, pair.guide, pair.batch), torch.cat([z.reshape(len(z), -1) for z in codes], 1)
    )


def test_features_of_one_latent_alone(ppca, says):
    data = {"x": ppca.data(7)["x"]}
    found = features(ppca.model, ppca.guide(), data, latent="z")
    assert torch.allclose(found, ppca.posterior_mean(data["x"]))
    with says(PairError, "'z'", "latent='w'"):
        features(ppca.model, ppca.guide(), data, latent="w")


def test_labels_are_no_features(says):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("kind", dist.Categorical(torch.ones(3) / 3))

    with says(PairError, "(none)", "labels"):
        features(guide, guide, {"x": torch.zeros(4, 2)})


def test_features_of_bytes_are_those_of_grey_levels():
    shape = (1, 4, 3)
    model = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(shape, relaxed=True), MLP(2, shape))
    guide = NormalGuide(MLP(shape, 4))
    data = {"x": torch.randint(256, (6, *shape), dtype=torch.uint8)}
    found = features(model, guide, data)
    assert torch.equal(found, features(model, guide, Scale()(data)))
    assert torch.equal(found, features(model, guide, data, transform=Scale()))


def test_features_of_no_data(ppca, says):
    with says(PairError, "features requires data", "empty batch"):
        features(ppca.model, ppca.guide(), ppca.data(0))


# ------------------------------------------------------------------------------------------------ the probe


def stripes(size):
    """Four stripes of equal width with the labels 0, 1, 0, 1: no line separates them, the nearest neighbour does."""
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
    measured = probe(x, y, x_test, y_test)
    for found in (measured.linear, measured.nearest):
        assert found.error == pytest.approx((0.25 * 0.75 / 2000) ** 0.5, rel=0.1)
        assert abs(found.value - 0.25) < 4 * found.error


def test_unknown_labels_are_left_out():
    x, y = torch.tensor([[0.0], [1.0], [0.4]]), torch.tensor([0, 1, -1])
    found = probe(x, y, torch.tensor([[0.45], [0.8], [0.0]]), torch.tensor([0, 1, -1]))
    assert found.nearest == Accuracy(1.0, 0.0)
    assert str(found.nearest) == "100.00 ± 0 %"
    assert str(found).splitlines()[1] == "nearest  100.00 ± 0 %"


@pytest.mark.parametrize("shapes", [((4,), 4, (3,), 3), ((4, 2), 4, (3, 5), 3), ((4, 2), 3, (3, 2), 3)])
def test_shapes_of_a_probe(shapes, says):
    train, y, test, y_test = shapes
    with says(ShapeError, "(N, D)", str(train)):
        probe(torch.zeros(train), torch.zeros(y), torch.zeros(test), torch.zeros(y_test))
