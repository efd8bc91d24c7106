"""Statistics of the data beside those of data drawn anew."""

import pytest
import torch

from pyrovae.errors import SettingError, ShapeError
from pyrovae.inference.diagnostics import diagnose, predictive_check

STATISTICS = {
    "mean": lambda sites: sites["x"].mean(-1),
    "square": lambda sites: sites["x"].square().mean(-1),
}


def test_statistics_of_data_of_the_model_agree(ppca):
    found = [predictive_check(ppca.model, ppca.guide(), ppca.data(100), STATISTICS, 100, seed=s) for s in range(10)]
    assert min(one.p_value for one in found) > 0.01
    assert found[0].words() == "mean, square: as in data that the pair draws anew"


def test_replicates_have_the_moments_of_the_posterior_predictive(ppca):
    """With x ~ Normal(W z + mu, s^2) and z ~ Normal(m(x), C), the mean over x is normal."""
    data = ppca.data(50)
    found = predictive_check(ppca.model, ppca.guide(), data, STATISTICS, 4000).replicated["mean"]
    ones = torch.full((5,), 0.2).double()
    expected = (ppca.decode(ppca.posterior_mean(data["x"])) @ ones).mean().item()
    spread = ppca.weight @ ppca.covariance @ ppca.weight.T + ppca.scale**2 * torch.eye(5).double()
    variance = (ones @ spread @ ones).item() / 50
    assert found.mean().item() == pytest.approx(expected, abs=4 * (variance / 4000) ** 0.5)
    assert found.var().item() == pytest.approx(variance, rel=0.12)


def test_noise_that_the_model_has_not_is_named(ppca):
    data = {"x": ppca.data(200)["x"] + torch.randn(200, 5)}
    found = diagnose(ppca.model, ppca.guide(), data, num_samples=30, num_simulations=0, statistics=STATISTICS)
    line = found["predictive check (p-value)"]
    assert line.good is False
    assert line.verdict.startswith("square is ")
    assert "in data drawn anew; the model does not draw such data" in line.verdict
    assert found.predictive.p_values["square"] < 1e-4
    assert "square" in str(found.predictive)
    without = diagnose(ppca.model, ppca.guide(), data, num_samples=30, num_simulations=0)
    assert without.predictive is None


def test_each_data_point_has_its_share_and_chunks_add_up(ppca):
    data = ppca.data(10)
    whole, chunks = (
        predictive_check(ppca.model, ppca.guide(), data, STATISTICS, 50, memory=memory) for memory in (2**28, 2**14)
    )
    assert whole.observed == pytest.approx(chunks.observed)
    assert all(len(one.per_datum["mean"]) == 10 and len(one.replicated["mean"]) == 50 for one in (whole, chunks))
    assert ((chunks.per_datum["mean"] >= 0) & (chunks.per_datum["mean"] <= 1)).all()
    ours = data["x"].square().mean().item()
    assert chunks.observed["square"] == pytest.approx(ours)


def test_a_statistic_without_spread_has_no_small_p_value(ppca):
    found = predictive_check(ppca.model, ppca.guide(), ppca.data(5), {"one": lambda sites: 1 + 0 * sites["x"][..., 0]})
    assert found.p_values == {"one": 1.0}


def test_what_cannot_be_checked(ppca, says):
    with says(SettingError, "at least one statistic, got none"):
        predictive_check(ppca.model, ppca.guide(), ppca.data(5), {})
    with says(SettingError, "num_samples", "at least 20, got 3"):
        predictive_check(ppca.model, ppca.guide(), ppca.data(5), STATISTICS, 3)
    with says(ShapeError, "statistics['x']", "(S, B) = (1, 5)", "(1, 5, 5)"):
        predictive_check(ppca.model, ppca.guide(), ppca.data(5), {"x": lambda sites: sites["x"]})
