"""Draws in NetCDF files, as xarray and ArviZ open them."""

import subprocess
import sys
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import MissingExtraError, OutputError
from pyrovae.inference import posterior, posterior_predictive, prior_predictive, to_arviz

az, xr = pytest.importorskip("arviz"), pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
pytest.importorskip("h5py")


def opened(path):
    """A file as xarray opens it, without ArviZ."""
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        return tree.load()


def test_a_round_trip_through_netcdf(gaussian, check, tmp_path):
    draws = posterior_predictive(*gaussian, 40)
    to_arviz(draws, prior_predictive(gaussian[0], 40)).to_netcdf(tmp_path / "draws.nc")
    check(az.from_netcdf(tmp_path / "draws.nc"), draws, with_prior=True)
    check(opened(tmp_path / "draws.nc"), draws, with_prior=True)


@pytest.mark.parametrize("corrected", [False, True])
def test_draws_that_go_to_a_file_are_those_of_memory(gaussian, check, tmp_path, corrected):
    options = {"corrected": corrected, "memory": 64 * 128 * 60}
    draws = posterior_predictive(*gaussian, 40, **options)
    path = tmp_path / "new" / "draws.nc"
    filed = posterior_predictive(*gaussian, 40, out=path, **options)
    assert filed.path == path
    assert [p.name for p in path.parent.iterdir()] == ["draws.nc"]
    for key, array in draws.arrays.items():
        assert filed.arrays[key].dims == array.dims
        assert torch.equal(filed.arrays[key].values, array.values)
    check(opened(path), draws)
    check(az.from_netcdf(path), draws)
    check(to_arviz(filed), draws)
    filed.latents["z"].zero_()  # in memory only
    assert torch.equal(torch.from_numpy(opened(path)["posterior"]["z"].values[0]), draws.latents["z"])
    assert opened(path)["posterior"].attrs["corrected"] == corrected


def test_plates_and_latents_of_all_data_keep_their_dimensions(groups_of, tmp_path):
    def model(x=None, *, size=None, data_size=None):
        rows = len(x) if size is None else size
        b = pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("data", data_size or rows, subsample_size=rows, dim=-1), pyro.plate("parts", 3, dim=-2):
            w = pyro.sample("w", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(w + b.sum(-1), 1.0), obs=None if x is None else x.T)

    def guide(x, data_size=None):
        pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("data", data_size or len(x), subsample_size=len(x), dim=-1), pyro.plate("parts", 3, dim=-2):
            pyro.sample("w", dist.Normal(x.T, 1.0))

    for out in (None, tmp_path / "draws.nc"):
        draws = posterior_predictive(model, guide, {"x": torch.randn(5, 3)}, 7, out=out, memory=64 * 128 * 14)
        tree = to_arviz(draws)
        assert tree["posterior"]["w"].dims == ("chain", "draw", "datum", "parts")
        assert tree["posterior"]["b"].dims == ("chain", "draw", "b_dim")
        assert tree["posterior_predictive"]["x"].dims == ("chain", "draw", "datum", "parts")
        assert tree["observed_data"]["x"].dims == ("datum", "parts")
        assert "label" not in tree["posterior"].coords
        assert groups_of(tree) == {"posterior", "posterior_predictive", "log_likelihood", "observed_data"}
        torch.testing.assert_close(torch.from_numpy(tree["posterior"]["w"].values)[0], draws.latents["w"])


# --------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("package", ["h5netcdf", "h5py", "xarray"])
def test_what_writes_files_is_not_installed(gaussian, package, monkeypatch, tmp_path, says):
    monkeypatch.setitem(sys.modules, package, None)
    with says(MissingExtraError, package, "pip install 'pyrovae[inspect]'"):
        posterior(*gaussian, 4, out=tmp_path / "draws.nc")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written(gaussian, tmp_path, says):
    (tmp_path / "file").write_text("")
    with says(OutputError, "'draws.nc'", "out="):
        posterior(*gaussian, 4, out=tmp_path / "file" / "draws.nc")


def test_a_disk_that_fills_up_leaves_nothing_behind(gaussian, tmp_path, monkeypatch, says):
    def full(self, *_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "draws.nc"
    path.write_text("the one before")
    monkeypatch.setattr("h5netcdf.Variable.__setitem__", full)
    with says(OutputError, "No space left", "out="):
        posterior(*gaussian, 4, out=path)
    assert [p.name for p in Path(tmp_path).iterdir()] == ["draws.nc"]
    assert path.read_text() == "the one before"


def test_an_error_on_the_way_leaves_no_file(gaussian, tmp_path):
    model, guide, data = gaussian
    calls = []

    def failing(x):
        calls.append(1)
        if len(calls) > 3:
            raise RuntimeError("on the way")
        guide(x)

    with pytest.raises(RuntimeError, match="on the way"):
        posterior(model, failing, data, 4, out=tmp_path / "draws.nc", memory=1)
    assert not list(tmp_path.iterdir())


LIMITED = """
import resource, sys, torch
from pyrovae.errors import OutputError
from pyrovae.guides import NormalGuide
from pyrovae.inference import posterior
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP
model, guide = VAE(priors.StandardNormal(2), likelihoods.Normal(3), MLP(2, 3, (4,))), NormalGuide(MLP(3, 4, (4,)))
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
try:
    posterior(model, guide, {"x": torch.randn(5000, 3)}, 200, out=sys.argv[1])
except OutputError as error:
    print(error)
"""


def test_a_file_that_would_not_fit_is_refused_and_the_process_lives(tmp_path):
    """HDF5 crashes when it meets the end of the room in the middle of an array."""
    command = [sys.executable, "-P", "-c", LIMITED, str(tmp_path / "draws.nc")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "cannot write 'draws.nc'" in done.stdout
    assert not list(tmp_path.iterdir())
