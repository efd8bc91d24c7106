"""Maps of a latent space, where codes and prior are known."""

import math

import pytest
import torch

from pyrovae.display import plus_minus
from pyrovae.errors import PairError
from pyrovae.guides import NormalGuide
from pyrovae.inference import (
    encode,
    generate,
    latent_map,
)
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def test_a_plane_is_its_own_map(ppca):
    data = ppca.data(4000)
    found = latent_map(ppca.model, ppca.guide(), data)
    assert found.axes == ("z₁", "z₂")
    torch.testing.assert_close(found.mean, ppca.posterior_mean(data["x"]))
    for points in (found.posterior, found.prior):  # of an exact guide the aggregate posterior is the prior
        torch.testing.assert_close(points.T.cov(), torch.eye(2).double(), rtol=0, atol=0.1)


def test_a_linear_map_is_a_plane_in_the_latent_space(scaled):
    model, guide, _ = scaled
    data = {"x": generate(model, 2000, mean=False)}
    found = latent_map(model, guide, data)
    z = encode(model, guide, data)["z"]
    torch.testing.assert_close(found.mean, found.plane.project(z))
    torch.testing.assert_close(found.plane.project(found.plane.lift(found.mean)), found.mean)
    lifted = found.plane.lift(found.mean)
    assert (lifted - z)[:, 0].abs().max() > 10 * (lifted - z)[:, 1].abs().max()  # the noisy dimension is left out


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_map_repeats_by_its_seed(method, scaled):
    model, guide, _ = scaled
    data = {"x": generate(model, 40, mean=False)}
    one, same, other = (latent_map(model, guide, data, method=method, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.posterior, same.posterior)
    assert not torch.equal(one.posterior, other.posterior)
    assert one.mean.shape == one.prior.shape == (40, 2)


def test_a_map_of_one_level_under_a_condition(says, conditional, conditional_guide):
    data = {"x": torch.randn(300, 2), "y": torch.arange(300.0)}
    found = latent_map(conditional, conditional_guide, data, latent="z1")
    torch.testing.assert_close(found.mean, data["x"] + data["y"].unsqueeze(-1))
    torch.testing.assert_close(found.prior.std(0), torch.full((2,), math.sqrt(5)), rtol=0.15, atol=0)
    with says(PairError, "several latent sites"):
        latent_map(conditional, conditional_guide, data)


def test_a_map_without_a_prior(says):
    model, guide = VAE(priors.Flat(2), likelihoods.Normal(3), MLP(2, 3)), NormalGuide(MLP(3, 4))
    data = {"x": torch.randn(4, 3)}
    with says(PairError, "flat prior is improper"):
        latent_map(model, guide, data)
    found = latent_map(model, guide, data, prior=False)
    assert found.prior is None
    assert [line.split()[0] for line in str(found).splitlines()[1:3]] == ["mean", "posterior"]


def test_a_map_prints_as_a_table(ppca):
    found = latent_map(ppca.model, ppca.guide(), ppca.data(50))
    lines = str(found).splitlines()
    assert lines[0].split() == ["z₁", "z₂"]
    assert [line.split()[0] for line in lines[1:4]] == ["mean", "posterior", "prior"]
    assert plus_minus(found.prior[:, 0].mean().item(), found.prior[:, 0].std().item()) in lines[3]
    assert lines[4] == "mean ± standard deviation over 50 data points"
    assert repr(found) == str(found)
