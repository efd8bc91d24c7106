"""The local classifier two-sample test."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import SettingError
from pyrovae.inference.diagnostics import local_test
from pyrovae.inference.diagnostics.local import _narrowed

pytest.importorskip("sklearn")


def test_the_exact_guide_cannot_be_told_from_the_model(ppca):
    data = {**ppca.data(40), "y": torch.arange(40)}  # neither program takes y
    found = local_test(ppca.model, ppca.guide(), data, 300, num_samples=10, num_nulls=19)
    assert found.p_value > 0.05
    assert {name: tuple(part.shape) for name, part in found.per_datum.items()} == {"statistic": (40,), "p_value": (40,)}


def test_a_guide_that_is_wrong_for_some_data_points_is_found_there():
    """p(z | x) = Normal(x / 2, 1/2); the guide is the further off the larger x is, and right at x = 0."""

    def model(x=None, *, size=None):
        with pyro.plate("data", size or len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
            return pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x, 0.5**0.5))

    data = {"x": torch.tensor([0.0, 0.0, 0.0, 2.0, 2.0, 2.0])}
    found = local_test(model, guide, data, 1000, num_samples=40, num_nulls=19)
    assert found.p_value == 0.05
    assert found.per_datum["p_value"][3:].tolist() == [0.05] * 3
    assert found.per_datum["statistic"][:3].max() < found.per_datum["statistic"][3:].min() / 2
    assert str(found).splitlines()[-1] == "6 data points, 19 classifiers without a difference"


def test_wide_data_keep_their_main_directions():
    x = torch.randn(50, 2).double() @ torch.randn(2, 300).double()
    narrow, same = _narrowed(x, x)
    assert narrow.shape == (50, 20)
    torch.testing.assert_close(narrow, same)
    torch.testing.assert_close(narrow @ narrow.T, (x - x.mean(0)) @ (x - x.mean(0)).T)


def test_the_local_test_requires_simulations(ppca, says):
    for name, wrong in {"num_simulations": 19, "num_samples": 0, "num_nulls": 18}.items():
        with says(SettingError, name, f"got {wrong}"):
            local_test(ppca.model, ppca.guide(), ppca.data(3), **{name: wrong})
