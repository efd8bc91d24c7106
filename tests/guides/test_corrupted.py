"""Denoising: the guide sees corrupted data in training and clean data otherwise; the model scores the clean data."""

import pytest
import torch
from pyro import poutine

from pyrovae.errors import SupportError
from pyrovae.guides import Corrupted, DeltaGuide, Erasing, GaussianNoise, NormalGuide
from pyrovae.inference import SVI
from pyrovae.inference.pair.tracing import trace_pair
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def denoising(inner=DeltaGuide, corruption=None):
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(5, scale=1.0), MLP(2, 5, (4,)))
    guide = Corrupted(inner(MLP(5, 2 if inner is DeltaGuide else 4, (4,))), corruption or GaussianNoise(0.5))
    return model, guide


def test_the_guide_sees_noise_in_training_and_the_model_never():
    (model, guide), x = denoising(), torch.randn(6, 5)
    pair = trace_pair(model, guide, {"x": x})
    assert torch.equal(pair.model.nodes["x"]["value"], x)
    assert not torch.allclose(pair.guide.nodes["z"]["value"], guide.guide.encoder(x))
    guide.eval()
    assert torch.equal(guide(x), guide.guide.encoder(x))


def test_gaussian_noise():
    x = torch.ones(20000, 3)
    noise = GaussianNoise(0.5)(x) - x
    assert noise.mean().abs() < 0.02
    assert noise.std().item() == pytest.approx(0.5, rel=0.02)


def test_erasing_is_fair_and_keeps_the_rest():
    x = torch.rand(20000, 3) + 1
    kept = Erasing(0.25)(x)
    assert (kept == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert torch.equal(kept[kept != 0], x[kept != 0])


@pytest.mark.parametrize("inner", [DeltaGuide, NormalGuide])
def test_captured_noise_is_fresh_at_each_step_and_equals_eager(inner, captured_only):
    x, trails = torch.randn(6, 5), {}
    for compile in (True, False):
        torch.manual_seed(0)
        model, guide = denoising(inner, Erasing(0.5))
        svi = SVI(model, guide, (torch.optim.SGD, {"lr": 0.0}), compile=compile)
        torch.manual_seed(1)
        trails[compile] = svi.steps({"x": x}, 4, order=torch.arange(6).expand(4, -1))
    torch.testing.assert_close(trails[True], trails[False])
    assert len(set(trails[True].tolist())) == 4


def test_it_works_under_any_guide_of_x():
    _, guide = denoising(NormalGuide)
    assert poutine.trace(guide).get_trace(torch.randn(6, 5)).stochastic_nodes == ["data", "z"]


def test_corruptions_that_are_none(says):
    with says(SupportError, "scale > 0", "got 0"):
        GaussianNoise(0)
    with says(SupportError, "between 0 and 1", "got 1.5"):
        Erasing(1.5)
