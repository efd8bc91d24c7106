"""M2: p(x, y, z) = p(y) p(z) p(x | y, z), and its guide, with some labels known."""

import math

import pyro.distributions as dist
import torch
from pyro import poutine

from pyrovae.guides import NormalGuide, SemiSupervisedGuide
from pyrovae.inference import check_pair, decode, evaluate
from pyrovae.models import SemiSupervisedVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

X, CLASSES, LATENT = (1, 3, 3), 4, 2


def build():
    decoder, encoder = JointMLP([LATENT, CLASSES], X, (5,)), JointMLP([X, CLASSES], 2 * LATENT, (5,))
    model = SemiSupervisedVAE(priors.StandardNormal(LATENT), likelihoods.Bernoulli(X), decoder, CLASSES)
    return model.double(), SemiSupervisedGuide(MLP(X, CLASSES, (5,)), NormalGuide(encoder)).double()


def test_a_known_label_is_a_point_mass_without_infinities():
    _, guide = build()
    x, y = torch.rand(5, *X).double(), torch.tensor([0, -1, 3, -1, 2])
    q = guide.label(x, y)
    assert q.logits.isfinite().all()
    assert torch.equal(q.probs[[0, 2, 4]], torch.eye(CLASSES).double()[[0, 3, 2]])
    assert torch.equal(q.log_prob(y.clamp_min(0))[[0, 2, 4]], torch.zeros(3).double())
    torch.testing.assert_close(q.probs[[1, 3]], guide.label(x).probs[[1, 3]])


def test_the_evidence_is_of_x_and_y_where_y_is_known():
    """A decoder that ignores the code: p(x | y) is known, p(x) its mean over labels, p(x, y) a share of it."""
    model, guide = build()
    with torch.no_grad():
        model.decoder.mlp.layers[0].weight[:, :LATENT] = 0
    x, y = torch.rand(5, *X).round().double(), torch.tensor([0, -1, 3, -1, 2])
    z, labels = torch.zeros(1, LATENT).double(), torch.arange(CLASSES)
    log_x = dist.Bernoulli(logits=model.decoder(z, labels.unsqueeze(-1))).log_prob(x).sum((2, 3, 4))
    joint = (log_x - math.log(CLASSES)).T
    exact = torch.where(y >= 0, joint.gather(1, y.clamp_min(0).unsqueeze(-1)).squeeze(-1), joint.logsumexp(-1))
    measured = evaluate(model, guide, {"x": x, "y": y}, num_samples=4000, transform=lambda batch: batch)
    assert (measured.per_datum["log_evidence"] - exact).abs().max() < 0.1


def test_it_generates_with_a_label():
    model, _ = build()
    y = torch.tensor([2, 0])
    z = torch.randn(2, LATENT).double()
    torch.testing.assert_close(decode(model, {"y": y, "z": z}), model.decoder(z, y).sigmoid())
    assert model(size=3).shape == (3, *X)
    assert poutine.trace(model).get_trace(size=3).nodes["y"]["value"].shape == (3,)


def test_it_keeps_the_contract_and_repr_says_the_number_of_classes():
    model, guide = build()
    check_pair(model, guide, {"x": torch.rand(5, *X).round().double(), "y": torch.tensor([0, -1, 3, -1, 2])})
    assert "classes=4" in repr(model)
