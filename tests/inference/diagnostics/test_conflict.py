"""Data beside data that the model simulates."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference.diagnostics import calibration, diagnose
from pyrovae.inference.diagnostics.conflict import conflict_on, energy_p_value
from pyrovae.inference.pair.on_data import on_data

SIZES = {"num_samples": 30, "num_simulations": 200}


def test_the_energy_test_is_exact_at_any_size():
    found = torch.tensor([energy_p_value(torch.randn(8, 2).exp(), torch.randn(12, 2).exp()) for _ in range(300)])
    for level in (0.1, 0.04):
        assert (found <= level).double().mean() <= level + 3 * (level / 300) ** 0.5
    assert (found > 0.06).double().mean() > 0.85


@pytest.mark.parametrize("change", [lambda x: x + 0.7, lambda x: 2.5 * x, lambda x: x[:, :1].expand(-1, 2)])
def test_the_energy_test_sees_mean_scale_and_dependence(change):
    ours, theirs = torch.randn(150, 2), torch.randn(150, 2)
    assert energy_p_value(change(ours), theirs) <= 0.003


def test_data_of_the_model_do_not_conflict(ppca):
    found = [diagnose(ppca.model, ppca.guide(), ppca.data(150), **SIZES, seed=seed) for seed in range(3)]
    assert all(one["data conflict (p-value)"].good for one in found)
    assert all(0.3 < one.conflict.below < 0.7 for one in found)
    assert "are like those" in found[0]["data conflict (p-value)"].verdict


def test_codes_that_are_elsewhere_are_named(ppca):
    z = torch.randn(150, 2).double() + torch.tensor([2.0, 0.0]).double()
    data = {"x": ppca.decode(z) + ppca.scale * torch.randn(150, 5)}
    found = diagnose(ppca.model, ppca.guide(), data, **SIZES)
    line = found["data conflict (p-value)"]
    assert line.good is False
    assert found.conflict.shift["z"][0] == pytest.approx(2, abs=0.5)
    assert abs(found.conflict.shift["z"][1]) < 0.5
    assert "codes of the data are up to" in line.verdict
    assert "standard deviations off (z[0])" in line.verdict
    assert "calibration does not speak for these data" in line.verdict
    assert found["joint ranks (p-value)"].good  # the guide is right, the data are not


def test_noise_that_the_model_has_not_shows_in_log_p(ppca):
    data = {"x": ppca.data(200)["x"] + torch.randn(200, 5)}
    found = diagnose(ppca.model, ppca.guide(), data, **SIZES).conflict
    assert found.p_values["evidence"] == 0.001
    assert found.below > 0.8
    assert found.outside > 0.3
    assert "log p(x) is below that of a simulated data point" in str(found)


def test_few_data_points_cannot_tell(ppca):
    line = diagnose(ppca.model, ppca.guide(), ppca.data(20), **SIZES)["data conflict (p-value)"]
    assert line.good is None
    assert "20 data points" in line.verdict


def test_sorted_data_are_compared_over_their_whole_range(ppca):
    x = ppca.data(1000)["x"]
    data = {"x": x[x[:, 0].argsort()]}
    assert diagnose(ppca.model, ppca.guide(), data, **SIZES)["data conflict (p-value)"].good


def test_what_the_model_is_given_is_the_same_for_both():
    """x ~ Normal(3 y, 1) given y, and the data have other labels in their later rows."""

    def model(y, x=None, *, size=None):
        with pyro.plate("data", len(y), dim=-1):
            z = pyro.sample("z", dist.Normal(3.0 * y, 1.0))
            return pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x, y):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal((x + 3 * y) / 2, 0.5**0.5))

    y = (torch.arange(400) > 210).float()
    data = {"y": y, "x": 3 * y + 2**0.5 * torch.randn(400)}
    found = diagnose(model, guide, data, **SIZES)
    assert found["data conflict (p-value)"].good
    assert found["joint ranks (p-value)"].good


def wide_and_narrow():
    """x copies two latents, of three dimensions and of one, beside noise; the guide is exact."""

    def model(x=None, *, size=None):
        with pyro.plate("data", size or len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            b = pyro.sample("b", dist.Normal(torch.zeros(1), 2.0).to_event(1))
            return pyro.sample("x", dist.Normal(torch.cat([a, b], -1), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("a", dist.Normal(x[:, :3] / 2, 0.5**0.5).to_event(1))
            pyro.sample("b", dist.Normal(0.8 * x[:, 3:], 0.8**0.5).to_event(1))

    return model, guide


def test_latents_are_compared_by_name():
    pair = wide_and_narrow()
    data = {"x": torch.randn(200, 4) * torch.tensor([2.0, 2.0, 2.0, 5.0]).sqrt()}
    simulated = calibration(*pair, 200).profile
    turned = simulated._replace(codes=dict(reversed(simulated.codes.items())))
    with on_data("test", *pair, data) as opened:
        found, same = (conflict_on(opened, one, 99) for one in (simulated, turned))
    assert found.p_values["codes"] > 0.01
    assert {name: part.shape[0] for name, part in same.shift.items()} == {"b": 1, "a": 3}
    for name in ("a", "b"):
        torch.testing.assert_close(same.shift[name], found.shift[name])


def test_latents_of_swapped_widths_are_not_confused(says):
    pair = wide_and_narrow()
    simulated = calibration(*pair, 50).profile
    swapped = simulated._replace(codes={"a": simulated.codes["b"], "b": simulated.codes["a"]})
    with on_data("test", *pair, {"x": torch.randn(20, 4)}) as opened, says(PairError, "{'a': 1, 'b': 3}", "'a': 3"):
        conflict_on(opened, swapped, 99)
