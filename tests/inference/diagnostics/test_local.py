"""The local classifier two-sample test."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError, SettingError
from pyrovae.inference.diagnostics import LocalTest, calibration, diagnose, local_test
from pyrovae.inference.diagnostics.local import _directions, _quadratic, local_on
from pyrovae.inference.pair.on_data import on_data

LINE = "local test (p-value)"


@pytest.fixture
def regional():
    """p(z | x) = Normal(x / 2, 1/2); the guide is off by a number of standard deviations where x is above 1."""

    def pair(off):
        def model(x=None, *, size=None):
            with pyro.plate("data", size or len(x), dim=-1):
                z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
                return pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        def guide(x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(x / 2 + off * (x > 1) * 0.5**0.5, 0.5**0.5))

        return model, guide

    return pair


def halves(count):
    """Data points far below 1, then as many far above."""
    return {"x": torch.cat([torch.full((count,), -1.0), torch.full((count,), 2.5)])}


def test_the_exact_guide_cannot_be_told_from_the_model(ppca):
    data = {**ppca.data(40), "y": torch.arange(40)}  # neither program takes y
    found = local_test(ppca.model, ppca.guide(), data, 300, num_samples=10)
    assert found.p_value > 0.05
    assert {name: tuple(part.shape) for name, part in found.per_datum.items()} == {"statistic": (40,), "p_value": (40,)}
    assert not len(found.off())
    assert found.words() == "a classifier finds none of 40 data points at which the guide is off"


def test_p_values_of_right_guides_are_uniform(ppca):
    """At one data point and over all of them, over repeats of all that is random."""
    found = [local_test(ppca.model, ppca.guide(), ppca.data(5), 40, num_nulls=19, seed=9 * k) for k in range(60)]
    for p_values in ([one.p_value for one in found], [one.per_datum["p_value"][0].item() for one in found]):
        for level in (0.1, 0.5):  # three standard errors of a share
            assert abs(sum(p <= level for p in p_values) / 60 - level) < 3 * (level * (1 - level) / 60) ** 0.5


def test_a_guide_that_is_wrong_for_some_data_points_is_found_there(regional):
    found = local_test(*regional(1.5), halves(10), 1000)
    assert found.p_value == 0.001
    assert set(range(10, 20)) <= set(found.off().tolist())
    assert found.per_datum["statistic"][:10].max() < found.per_datum["statistic"][10:].min() / 2
    assert str(found).splitlines()[-2] == "20 data points, 999 classifiers without a difference"


@pytest.mark.parametrize("stretch", [0.7, 1.4])
def test_a_scale_that_is_wrong_is_found(ppca, stretch):
    assert local_test(ppca.model, ppca.guide(stretch=stretch), ppca.data(50), 500).p_value < 0.01


def test_a_classifier_of_the_user_is_asked(regional):
    linear = pytest.importorskip("sklearn.linear_model")
    found = local_test(
        *regional(1.5), halves(2), 200, num_samples=5, num_nulls=19, classifier=linear.LogisticRegression
    )
    assert found.p_value == 0.05


def test_data_points_that_are_off_are_those_of_benjamini_and_hochberg():
    p_values = torch.tensor([0.03, 0.2, 0.001, 0.6, 0.012])
    found = LocalTest({"statistic": p_values, "p_value": p_values}, 0.01, 999, torch.tensor([0, 20, 40, 60, 80]))
    assert found.off(0.05).tolist() == [0, 40, 80]  # 0.03 <= 3 / 5 of 0.05
    assert found.off(0.02).tolist() == [40]
    assert found.words() == "the guide is off at 3 of 5 data points (rows 0, 40, 80)"


def test_a_kernel_regression_is_the_ridge_regression_on_its_features():
    """Where x is constant: on a constant, the columns of z, and their products, each twice (for 1 and for exp(0))."""
    rows, asked = torch.randn(30, 3).double(), torch.randn(7, 3).double()
    rows[:, 0] = asked[:, 0] = 5.0
    labels = torch.rand(2, 30) < 0.5

    def extended(some):
        a, b = ((some - rows.mean(0)) / rows.std(0, correction=0))[:, 1:].unbind(1)
        return 2**0.5 * torch.stack([torch.ones_like(a), a, b, a * a, a * b, b * b], 1)

    x = extended(rows)
    weight = torch.linalg.solve(x.T @ x + 30 * torch.eye(6).double(), x.T @ (labels.T.double() - 0.5))
    found = _quadratic(rows, labels, 2)(asked)
    torch.testing.assert_close(found, (0.5 + extended(asked) @ weight).clamp(0, 1).T)


def test_wide_data_keep_their_main_directions():
    x = torch.randn(50, 2).double() @ torch.randn(2, 300).double()
    middle, directions = _directions(x)
    narrow = (x - middle) @ directions
    assert narrow.shape == (50, 20)
    torch.testing.assert_close(narrow @ narrow.T, (x - x.mean(0)) @ (x - x.mean(0)).T)


def test_the_local_test_requires_simulations(ppca, says):
    for name, wrong in {"num_simulations": 19, "num_samples": 3, "num_nulls": 18}.items():
        with says(SettingError, name, f"got {wrong}"):
            local_test(ppca.model, ppca.guide(), ppca.data(3), **{name: wrong})


def test_data_of_another_width_are_refused(ppca, says):
    simulations = calibration(ppca.model, ppca.guide(), 25).simulations
    wrong = simulations._replace(data={"x": torch.randn(25, 7)})
    with on_data("test", ppca.model, ppca.guide(), ppca.data(4)) as pair, says(PairError, "7 numbers", "got 5"):
        local_on(pair, wrong, torch.arange(4))


# ------------------------------------------------------------------------------------------- in a diagnosis


def test_a_diagnosis_says_at_which_data_points_the_guide_is_off(regional):
    data = {"x": torch.cat([torch.full((70,), -1.0), torch.full((30,), 2.5)])}
    found = diagnose(*regional(2.0), data, num_samples=30)
    line = found[LINE]
    assert line.good is False
    assert set(range(70, 100)) <= set(found.local.off().tolist())
    assert "data points (rows " in line.verdict
    assert "train on more data points like these" in line.verdict


def test_a_guide_that_is_wrong_everywhere_needs_another_remedy(ppca):
    found = diagnose(ppca.model, ppca.guide(1.0), ppca.data(400), num_samples=30)
    assert found[LINE].verdict.startswith("the guide is off at ")
    assert "take a richer guide, or recalibrate(...)" in found[LINE].verdict
    assert found.local.rows.tolist() == list(range(0, 400, 2))  # at most 200


def test_a_guide_that_is_off_elsewhere_cannot_be_told(regional):
    found = diagnose(*regional(2.0), {"x": torch.full((60,), -1.0)}, num_samples=30)
    assert found["joint ranks (p-value)"].good is False
    assert found[LINE].good is not True


def test_a_right_guide_is_not_asked(ppca):
    found = diagnose(ppca.model, ppca.guide(), ppca.data(60), num_samples=30)
    assert found.local is None
    assert found.absent["local test"] == "not needed, the ranks find nothing (local_test)"
    assert "local test" not in diagnose(ppca.model, ppca.guide(), ppca.data(3), num_simulations=0).absent


def test_a_diagnosis_tests_the_simulations_of_its_calibration(ppca):
    """One draw of the guide for each, and the moments of the others."""
    found = calibration(ppca.model, ppca.guide(0.5), 30, num_samples=19)
    simulations = found.simulations
    z, other = simulations.latents["z"], simulations.drawn["z"]
    assert z.shape == other.shape == (30, 2)
    torch.testing.assert_close(simulations.loc["z"], ppca.posterior_mean(simulations.data["x"]) + 0.5, atol=0.5, rtol=0)
    assert (simulations.scale["z"] > 0).all()
    assert not torch.equal(z, other)
