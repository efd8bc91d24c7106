"""The posterior of a pair: drawn, diagnosed, reported."""

import pytest

from pyrovae import inference
from pyrovae.inference import Annealing, compare_evidence


@pytest.fixture
def _short_annealing(monkeypatch):
    """Annealed importance sampling of a few short steps."""
    how = Annealing(num_chains=4, num_temperatures=10, num_leapfrog=2)

    def compare(model, guide, data, **options):
        return compare_evidence(model, guide, data, how, **options)

    monkeypatch.setattr(inference, "compare_evidence", compare)


@pytest.mark.usefixtures("_short_annealing")
def test_inspect_posterior_trains_and_keeps_draws(example, digits, tmp_path):
    few = ["--data", digits, "--hidden", "50", "--draws", "20", "--drawn", "5", "--num-samples", "30"]
    done = example("inspect_posterior.py", *few, "--anneal", "3", folder=tmp_path)
    assert "k-hat" in done.stdout
    assert "AIS from the guide" in done.stdout
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(tmp_path / "posterior.nc", group="posterior", engine="h5netcdf") as draws:
        assert dict(draws.sizes)["datum"] == 5
        assert draws["z"].shape == (2, 10, 5, 10)
    assert (tmp_path / "report.html").stat().st_size < 5e6


def test_inspect_posterior_requires_a_finished_run(example, tmp_path):
    run = ["--run", str(tmp_path / "none"), "--num-samples", "30"]
    done = example("inspect_posterior.py", *run, folder=tmp_path, code=2)
    assert "requires a run" in done.stderr
