"""The sentences of a diagnosis."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.inference.diagnostics import diagnose


def test_a_guide_ten_times_too_narrow_is_not(ppca):
    diagnosis = diagnose(ppca.model, ppca.guide(stretch=0.1), ppca.data(100), num_samples=300)
    assert diagnosis.per_datum["khat"].median() > 0.7
    line = diagnosis["k-hat above 0.7"]
    assert not line.good
    assert "do not trust importance sampling there" in line.verdict
    assert f"{100 * line.value:.0f} % of the data points" in line.verdict
    assert diagnosis["calibration (p-value)"].verdict == "the guide is too narrow in 2 of 2 dimensions"
    assert not diagnosis.good
    assert sum(text.startswith("! ") for text in str(diagnosis).splitlines()) == sum(
        not v.good for v in diagnosis.verdicts
    )


def test_a_collapsed_guide_is_called_so(two_dimensions):
    model, _ = two_dimensions(1.0)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).expand([len(x), 2]).to_event(1))

    diagnosis = diagnose(model, guide, {"x": torch.randn(50, 1)}, num_samples=200, num_simulations=0)
    assert "posterior collapse: 0 of 2 latent dimensions are active" in diagnosis["active in z"].verdict
    assert not diagnosis["mutual information"].good
    assert diagnosis["marginal KL"].good


def test_information_is_at_most_log_n_and_says_so(ppca):
    diagnosis = diagnose(ppca.model, ppca.guide(stretch=0.01), ppca.data(20), num_samples=50, num_simulations=0)
    assert diagnosis.aggregate.mutual_information.value == pytest.approx(math.log(20), abs=1e-3)
    assert "the most that 20 data points can show" in diagnosis["mutual information"].verdict
    assert "too few to tell" in diagnosis["marginal KL"].verdict
