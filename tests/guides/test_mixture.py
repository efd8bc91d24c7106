"""The mixture guide: a posterior with two modes."""

import pytest
import torch
from torch import nn

from pyrovae.errors import ShapeError
from pyrovae.guides import MixtureGuide
from pyrovae.inference.pair.tracing import trace_pair


def test_it_keeps_both_modes(folded, constant, trained):
    model, x, log_evidence = folded
    start = [0.0, 0.0, 1.0, 0.0, -1.0, 0.0, -0.5, 0.0, -0.5, 0.0]  # logits, locs on either side, raw scales
    guide = MixtureGuide(constant(*start), 2)
    assert trained(model, guide, x) == pytest.approx(log_evidence, abs=0.05)
    data = {"x": x.expand(16)}
    z = torch.cat([trace_pair(model, guide, data).latent()["z"][0]["value"] for _ in range(50)])
    assert 0.3 < (z[:, 0] > 0).float().mean().item() < 0.7


def test_a_mixture_of_one(says):
    with says(ShapeError, "components >= 2", "components=1", "NormalGuide"):
        MixtureGuide(nn.Identity(), 1)
