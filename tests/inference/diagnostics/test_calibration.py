"""Simulation-based calibration of guides that are right, or wrong in a known way."""

import sys
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import MissingExtraError, SettingError, ShapeError
from pyrovae.inference.diagnostics import Calibration, calibration
from pyrovae.inference.diagnostics.calibration import p_text
from pyrovae.inference.diagnostics.verdicts import of_calibration


def test_ranks_of_the_exact_guide_are_uniform(ppca):
    p_values = [calibration(ppca.model, ppca.guide(), 200, num_samples=19, seed=s).p_value for s in range(20)]
    assert min(p_values) > 0.005
    assert sum(p < 0.5 for p in p_values) > 3


@pytest.mark.parametrize(
    ("change", "words"), [({"stretch": 0.3}, "too narrow"), ({"stretch": 3.0}, "too wide"), ({"shift": 0.3}, "shifted")]
)
def test_ranks_of_a_wrong_guide_are_not(ppca, change, words):
    found = calibration(ppca.model, ppca.guide(**change), 300)
    assert found.p_value < 1e-6
    assert found.words() == f"the guide is {words} in 2 of 2 dimensions"
    assert found.ranks["z"].shape == (300, 2)
    assert 0 <= found.ranks["z"].min() <= found.ranks["z"].max() <= 99


def test_labels_are_ranked_at_random_among_equals():
    """p(y | x) = p(y), and the guide is p(y)."""

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            pyro.sample("y", dist.Categorical(torch.tensor([0.2, 0.8])))
            return pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", dist.Categorical(torch.tensor([0.2, 0.8]).expand(len(x), 2)))

    assert calibration(model, guide, 2000).p_value > 0.01


def test_a_prime_number_of_ranks(ppca):
    assert calibration(ppca.model, ppca.guide(), 200, num_samples=22).p_value > 0.001


def test_a_wrong_shape_is_named():
    ranks = torch.cat([torch.arange(100).repeat_interleave(9), torch.full((50,), 25), torch.full((50,), 74)])
    found = Calibration({"z": ranks[:, None]}, {"z": torch.tensor([1e-5])}, 99)
    assert found.words() == "the guide is of the wrong shape in 1 of 1 dimensions"


def test_calibration_requires_simulations(ppca, says):
    with says(SettingError, "num_simulations", "at least 25, got 24"):
        calibration(ppca.model, ppca.guide(), 24)
    with says(ShapeError, "calibration requires 30 rows"):
        calibration(ppca.model, ppca.guide(), 30, given={"c": torch.zeros(3)})


def test_progress_over_the_simulations(ppca, shows_bar):
    quiet, shown = (calibration(ppca.model, ppca.guide(), 30, num_samples=9, progress=p) for p in (False, True))
    assert shows_bar("data point")
    assert torch.equal(quiet.ranks["z"], shown.ranks["z"])


def test_the_table_of_a_calibration(ppca):
    found = calibration(ppca.model, ppca.guide(stretch=0.3), 100)
    lines = str(found).splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["dimension", "z[0]", "z[1]"]
    assert "100 simulations" in lines[3]
    assert lines[4].endswith(found.words())


def test_a_p_value_is_printed_alike_everywhere():
    assert [p_text(p) for p in (0.25, 0.001234, 1e-17, 0.0)] == ["0.25", "0.00123", "< 1e-16", "< 1e-16"]
    found = of_calibration(Calibration({"z": torch.zeros(500, 1, dtype=torch.int64)}, {"z": torch.zeros(1)}, 99))
    assert found.cells[2] == "< 1e-16"


def test_curves_hold_what_coverage_says(ppca):
    found = calibration(ppca.model, ppca.guide(stretch=0.6), 300)
    curves = found.curves()
    assert list(curves) == ["z[0]", "z[1]", *found.joint.ranks]
    levels, shares = curves["z[1]"]
    assert shares[90] == found.coverage("z", levels[90].item())[1] < levels[90] - 0.1
    assert all(
        torch.equal(a, b) for a, b in zip(curves["log q(z | x)"], found.joint.curve("log q(z | x)"), strict=True)
    )


def test_arviz_draws_the_ranks(ppca):
    """Its `plot_ecdf_pit` in arviz 1.x, its `plot_ecdf` in 0.x, apart from what it deprecates in others."""
    az = pytest.importorskip("arviz")
    import matplotlib as mpl
    from scipy.stats import uniform

    mpl.use("Agg")
    tree = calibration(ppca.model, ppca.guide(), 40).to_arviz()
    pit = tree["prior_sbc"]
    assert dict(pit.sizes) == {"chain": 1, "draw": 40, "z_dim": 2}
    assert set(pit.data_vars) == {"z", "log p(x, z)", "log q(z | x)", "distance to a reference"}
    assert 0 < float(pit["z"].min()) < float(pit["z"].max()) < 1
    assert pit.attrs["inference_library"] == "pyrovae"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hasattr(az, "plot_ecdf_pit"):
            az.plot_ecdf_pit(tree)
            az.plot_ecdf_pit(tree, var_names=["z"], coverage=True)
        else:
            az.plot_ecdf(tree.prior_sbc["z"][0, :, 0].values, cdf=uniform.cdf, difference=True)


def test_ranks_for_arviz_require_it(ppca, monkeypatch, says):
    found = calibration(ppca.model, ppca.guide(), 25)
    for package in ("xarray", "arviz"):
        monkeypatch.setitem(sys.modules, package, None)
        with says(MissingExtraError, package, "pip install 'pyrovae[inspect]'"):
            found.to_arviz()
        monkeypatch.undo()
