"""Data points in a report: which are shown, and under which names."""

import pytest
import torch

from pyrovae.guides import ConditionalGuide, NormalGuide
from pyrovae.models import ConditionalVAE, likelihoods, priors
from pyrovae.networks import JointMLP
from pyrovae.report import sections
from pyrovae.report.reported import ReportedPair


@pytest.fixture
def reported():
    """A conditional VAE of 12 data points with three labels."""
    likelihood = likelihoods.Normal(4, scale=0.5)
    model = ConditionalVAE(priors.StandardNormal(2), likelihood, JointMLP([2, 3], 4, [5]))
    guide = ConditionalGuide(NormalGuide(JointMLP([4, 3], 4, [5])))
    data = {"x": torch.randn(12, 4), "y": torch.arange(12) % 3}
    return ReportedPair.of(model, guide, data, classes=("a", "b", "c"))


def test_data_points_are_over_their_reconstructions(reported):
    found = sections.reconstructions(reported)
    assert [item["at"] for item in found["items"]] == [[i, 12 + i] for i in range(12)]
    assert found["items"][1]["label"] == "data point 2, label b"
    assert found["album"]["values"][0] == pytest.approx(reported.x[0].tolist(), rel=1e-2)


def test_samples_have_the_conditions_of_the_data(reported):
    found = sections.samples(reported)
    assert found["captions"]
    assert [item["label"] for item in found["items"][:4]] == ["y = a", "y = b", "y = c", "y = a"]


def test_draws_are_of_data_points_with_different_labels(reported):
    found = sections.draws(reported)
    assert [item["label"][-1] for item in found["items"][:3]] == ["a", "b", "c"]
    assert found["names"][:3] == ["data point", "mean of q", "draw 1"]
    assert all("60 draws of the guide are worth" in item["note"] for item in found["items"])
    assert len(found["names"]) == sum(count for _, _, count in found["groups"])
    places = sorted(place for item in found["items"] for place in item["at"])
    assert places == list(range(len(found["album"]["values"])))
