"""The sentences of a diagnosis."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.inference import Annealing
from pyrovae.inference.diagnostics import diagnose


def test_a_guide_ten_times_too_narrow_is_not(ppca):
    diagnosis = diagnose(ppca.model, ppca.guide(stretch=0.1), ppca.data(100), num_samples=300)
    assert diagnosis.per_datum["khat"].median() > 0.7
    line = diagnosis["k-hat above 0.7"]
    assert not line.good
    assert "do not trust importance sampling there" in line.verdict
    assert f"{100 * line.value:.0f} % of the data points" in line.verdict
    words = diagnosis["calibration (p-value)"].verdict
    assert words.startswith("the guide is too narrow in 2 of 2 dimensions: 90 % intervals of z[")
    assert words.endswith("; train longer, take a richer guide, or recalibrate(...)")
    assert not diagnosis.good
    lines = str(diagnosis).splitlines()
    for mark, good in (("! ", False), ("? ", None)):
        assert sum(line.startswith(mark) for line in lines) == sum(v.good is good for v in diagnosis.verdicts)


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
    assert diagnosis["mutual information"].good is None
    assert "too few to tell" in diagnosis["marginal KL"].verdict
    assert diagnosis["marginal KL"].good is None


# ------------------------------------------------------------------------------------------ what k-hat does not see


@pytest.fixture
def two_modes():
    """z ~ N(0, 4), x ~ N(|z|, 1/2): the guide is the posterior where z > 0, and misses log 2 nats."""

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 4.0))
            pyro.sample("x", dist.Normal(z.abs(), 0.5), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(4 * x / 4.0625, 4.0625**-0.5))

    return model, guide


def test_a_mode_that_the_guide_misses(two_modes):
    """k-hat is small by construction; calibration sees the mode, and so do chains from the prior."""
    data = {"x": 4 + 0.1 * torch.randn(60)}
    blind = diagnose(*two_modes, data, num_samples=200, num_simulations=0)["k-hat above 0.7"]
    assert blind.value < 0.05
    assert blind.good is None
    assert "cannot see a mode that the guide misses" in blind.verdict
    calibrated = diagnose(*two_modes, data, num_samples=200)
    assert calibrated["k-hat above 0.7"].good is None
    assert "does not draw everywhere" in calibrated["k-hat above 0.7"].verdict
    assert not calibrated["calibration (p-value)"].good
    chains = Annealing(num_temperatures=20, num_leapfrog=3)
    both = diagnose(*two_modes, data, num_samples=200, num_simulations=0, annealing=chains)
    beyond = both["AIS from the prior"]
    assert beyond.value == pytest.approx(math.log(2), abs=4 * beyond.error + 0.05)
    assert beyond.good is False
    assert both["k-hat above 0.7"].good is False


def test_chains_from_the_prior_that_agree_are_evidence(ppca):
    chains = Annealing(num_temperatures=20, num_leapfrog=3)
    found = diagnose(ppca.model, ppca.guide(0.1), ppca.data(60), num_simulations=0, annealing=chains)
    assert found["AIS from the prior"].good
    assert found["k-hat above 0.7"].good
    assert "can be trusted" in found["k-hat above 0.7"].verdict


def test_few_data_points_cannot_tell(ppca):
    line = diagnose(ppca.model, ppca.guide(), ppca.data(20), num_samples=100)["k-hat above 0.7"]
    assert line.good is None
    assert "20 data points are too few to tell" in line.verdict


def test_few_simulations_cannot_tell(ppca):
    found = diagnose(ppca.model, ppca.guide(), ppca.data(100), num_samples=100, num_simulations=25)
    assert found["calibration (p-value)"].good is None
    assert "25 simulations" in found["calibration (p-value)"].verdict
    assert found["k-hat above 0.7"].good is None


def test_a_guide_that_is_too_wide_misses_nothing(ppca):
    found = diagnose(ppca.model, ppca.guide(stretch=1.4), ppca.data(100), num_samples=300)
    assert not found["calibration (p-value)"].good
    assert not found.calibration.misses()
    assert found["k-hat above 0.7"].good
