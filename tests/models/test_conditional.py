"""The conditional VAE, p(x, z | y), given a label or a tensor."""

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.errors import PairError
from pyrovae.guides import ConditionalGuide, NormalGuide
from pyrovae.inference import decode, evaluate, generate
from pyrovae.models import ConditionalNormal, ConditionalVAE, likelihoods, priors
from pyrovae.networks.joint import JointMLP

X, Y = (1, 3, 3), 4


def build(*, labels, conditional):
    prior = ConditionalNormal(JointMLP([Y], 4, (5,))) if conditional else priors.StandardNormal(2)
    model = ConditionalVAE(prior, likelihoods.Bernoulli(X), JointMLP([2, Y], X, (5,)))
    y = torch.randint(Y, (6,)) if labels else torch.randn(6, Y)
    return model, y


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("conditional", [True, False])
def test_its_joint_density_is_prior_times_likelihood(labels, conditional):
    model, y = build(labels=labels, conditional=conditional)
    x, z = torch.rand(6, *X).round(), torch.randn(6, 2)
    trace = poutine.trace(poutine.condition(model, {"z": z})).get_trace(x=x, y=y)
    trace.compute_log_prob()
    prior = model.prior(y) if conditional else dist.Normal(torch.zeros(2), 1.0).to_event(1)
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], prior.log_prob(z))
    pixels = dist.Bernoulli(logits=model.decoder(z, y)).log_prob(x)
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], pixels.sum((1, 2, 3)))


def test_it_generates_given_a_label():
    model, _ = build(labels=True, conditional=True)
    y = torch.tensor([2, 2, 0])
    assert model(size=3, y=y).shape == model(y).shape == (3, *X)
    assert generate(model, 3, given={"y": y}).shape == (3, *X)


def test_style_is_kept_and_the_label_changed():
    model, _ = build(labels=True, conditional=False)
    z = torch.randn(1, 2).expand(Y, 2)
    x = decode(model, {"z": z}, given={"y": torch.arange(Y)})
    torch.testing.assert_close(x, model.decoder(z, torch.arange(Y)).sigmoid())


def test_another_size_than_that_of_the_condition(says):
    model, y = build(labels=True, conditional=False)
    with says(PairError, "size=4", "6 data points"):
        model(y, size=4)


def test_the_evidence_of_a_conditional_model_is_log_p_of_x_given_y():
    """The decoder ignores z, so p(x | y) is known, and any guide finds it."""
    model, y = build(labels=True, conditional=True)
    guide = ConditionalGuide(NormalGuide(JointMLP([X, Y], 4, (5,))))
    with torch.no_grad():
        model.decoder.mlp.layers[0].weight[:, :2] = 0
    x = torch.rand(6, *X).round()
    exact = dist.Bernoulli(logits=model.decoder(torch.zeros(6, 2), y)).log_prob(x).sum((1, 2, 3))
    measured = evaluate(model, guide, {"x": x, "y": y}, num_samples=4000, transform=lambda batch: batch)
    assert (measured.per_datum["log_evidence"] - exact).abs().max() < 0.1
    assert measured.dims == 9
