"""Intervals that hold what they say, whatever the guide."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from built_pairs import PAIRS

from pyrovae.errors import PairError, SettingError, ShapeError
from pyrovae.inference import posterior
from pyrovae.inference.diagnostics import recalibrate
from pyrovae.inference.diagnostics.recalibration import _conformal, _spread


def test_the_conformal_score_is_the_right_order_statistic():
    scores = torch.arange(99.0, 0, -1)[:, None]
    assert _conformal(scores, 0.9).tolist() == [90.0]
    assert _conformal(scores, 0.99).tolist() == [99.0]
    assert _conformal(scores, 0.001).tolist() == [1.0]


def test_scale_on_each_side_of_the_median():
    middle, below, above = _spread(torch.tensor([-2.0, 0.0, 4.0])[:, None, None])
    assert [part.item() for part in (middle, below, above)] == [0.0, 2.0, 4.0]


def covered(pair, guide, seed, size, simulations):
    """The coverage of 80 % intervals that are fitted to some simulations, on new data points."""
    found = recalibrate(pair.model, guide, simulations, num_samples=20, seed=2 * seed)
    z = torch.randn(size, 2).double()
    data = {"x": pair.decode(z) + pair.scale * torch.randn(size, 5)}
    low, high = found.intervals(posterior(pair.model, guide, data, 20, seed=seed).latents, 0.8)["z"]
    return ((low <= z) & (z <= high)).double().mean().item()


@pytest.mark.parametrize("change", [{"stretch": 0.5}, {"shift": 0.5}])
def test_intervals_of_a_wrong_guide_hold_what_they_say(ppca, change):
    assert covered(ppca, ppca.guide(**change), 0, 2000, 999) == pytest.approx(0.8, abs=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{}, {"stretch": 0.5}, {"stretch": 2.0}, {"shift": 0.5}])
def test_coverage_is_exact_with_few_simulations(ppca, change):
    """P(z in the interval) is ceil((N + 1) a) / (N + 1) over simulations and data: with N = 19 and a = 0.8, 16/20."""
    inside = torch.tensor([covered(ppca, ppca.guide(**change), seed, 400, 19) for seed in range(60)])
    assert inside.mean().item() == pytest.approx(0.8, abs=4 * inside.std().item() / 60**0.5)


def test_the_stretch_is_the_inverse_of_the_guide_s(ppca):
    for stretch in (0.5, 1.0, 2.0):
        found = recalibrate(ppca.model, ppca.guide(stretch=stretch), 2000, num_samples=50)
        torch.testing.assert_close(
            found.stretch()["z"], torch.full((2,), 1 / stretch).double(), rtol=0.12, atol=0, check_dtype=False
        )


def test_the_table_of_a_recalibration(ppca):
    lines = str(recalibrate(ppca.model, ppca.guide(stretch=0.4), 200)).splitlines()
    assert lines[0].split() == ["dimension", "the", "guide's", "hold", "stretch", "temperature"]
    assert lines[1].startswith("z[0]")
    assert lines[-1] == "90 % intervals, 200 simulations, 100 draws"


def test_what_cannot_be_recalibrated(ppca, says):
    with says(SettingError, "num_simulations", "at least 9, got 8"):
        recalibrate(ppca.model, ppca.guide(), 8)
    found = recalibrate(ppca.model, ppca.guide(), 20, num_samples=9)
    with says(SettingError, "A coverage of 0.99 requires 99 simulations, got 20", "recalibrate(..., 99)"):
        found.temperature(0.99)
    with says(SettingError, "level", "1.5"):
        found.temperature(1.5)
    with says(ShapeError, "requires 9 draws of 2 numbers at 'z'", "(5, 3, 2)", "posterior(model, guide, data, 9)"):
        found.intervals({"z": torch.zeros(5, 3, 2)})
    pair = PAIRS["autoencoder"]()
    with says(PairError, "a guide that is a point at 'z'"):
        recalibrate(pair.model, pair.guide, 20, num_samples=9)


def test_labels_have_no_intervals(says):
    def model(x=None, *, size=None):
        with pyro.plate("data", size or len(x), dim=-1):
            y = pyro.sample("y", dist.Categorical(torch.ones(2)))
            return pyro.sample("x", dist.Normal(y.float(), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", dist.Categorical(torch.ones(2).expand(len(x), 2)))

    with says(PairError, "requires a latent that is a number, got labels alone"):
        recalibrate(model, guide, 20)
    mixed = PAIRS["mixture"]()
    found = recalibrate(mixed.model, mixed.guide, 20, num_samples=9)
    assert set(found.scores) == {"z"}
    assert found.absent == {"c": "labels have no intervals"}
    assert "c: labels have no intervals" in str(found)


@pytest.mark.parametrize("name", ["hierarchy-bottom-up"])
def test_intervals_have_the_shape_of_the_latents(name):
    pair = PAIRS[name]()
    found = recalibrate(pair.model, pair.guide, 20, num_samples=9)
    latents = posterior(pair.model, pair.guide, pair.batch, 9).latents
    for name, (low, high) in found.intervals(latents).items():
        assert low.shape == latents[name].shape[1:]
        assert (low <= high).all()
