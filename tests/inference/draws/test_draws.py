"""Draws as ArviZ's groups and in NetCDF files, on either generation of ArviZ."""

import sys
import warnings
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import MissingExtraError, OutputError, PairError
from pyrovae.inference import posterior, posterior_predictive, prior_predictive, to_arviz
from pyrovae.inference.draws.draws import event_dims

az, xr = pytest.importorskip("arviz"), pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
pytest.importorskip("h5py")

IMAGE, COUNT, SIZE = (1, 4, 3), 40, 6


@pytest.fixture(scope="module")
def gaussian():
    """p(x | z) of four by three pixels, z of two dimensions, a class, and labels that no program sees."""

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            c = pyro.sample("c", dist.Bernoulli(0.4), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = (z.sum(-1) + c)[..., None, None, None].expand(*(z[..., 0] + c).shape, *IMAGE)
            return pyro.sample("x", dist.Normal(loc, 12.0).to_event(3), obs=x)

    def guide(x):
        loc = 0.4 * x.mean((-1, -2, -3)).unsqueeze(-1).expand(-1, 2)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(loc, 0.9).to_event(1))

    torch.manual_seed(0)
    return model, guide, {"x": torch.randn(SIZE, *IMAGE), "y": torch.arange(SIZE) % 3, "t": torch.rand(SIZE, 2)}


def groups_of(tree):
    """Names of groups, on either generation."""
    return {name.strip("/") for name in (tree.groups() if callable(tree.groups) else tree.groups)} - {""}


def opened(path):
    """A file as plain xarray opens it."""
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        return tree.load()


GROUPS = {
    "posterior": {"z": ("chain", "draw", "datum", "z_dim"), "c": ("chain", "draw", "datum")},
    "posterior_predictive": {"x": ("chain", "draw", "datum", "channel", "row", "column")},
    "log_likelihood": {"x": ("chain", "draw", "datum")},
    "sample_stats": {"log_weight": ("chain", "draw", "datum"), "effective_draws": ("datum",)},
    "observed_data": {"x": ("datum", "channel", "row", "column")},
    "constant_data": {"y": ("datum",), "t": ("datum", "t_dim")},
}
PRIOR = {"prior": GROUPS["posterior"], "prior_predictive": GROUPS["posterior_predictive"]}


def check(tree, expected, draws):
    """Groups, names, dimensions, coordinates and values are the draws'."""
    assert groups_of(tree) == set(expected)
    for group, variables in expected.items():
        dataset = tree[group]
        assert {name: dataset[name].dims for name in dataset.data_vars} == variables
        sizes = dict(dataset.sizes)
        for dim, size in sizes.items():
            assert dataset.coords[dim].values.tolist() == list(range(size))
        assert dataset.attrs["inference_library"] == "pyrovae"
        if "datum" in sizes and not group.startswith("prior"):
            assert dataset.coords["label"].dims == ("datum",)
            assert dataset.coords["label"].values.tolist() == [0, 1, 2, 0, 1, 2]
    for key, array in draws.arrays.items():
        values = torch.from_numpy(tree[key.group][key.name].values)
        assert torch.equal(values.flatten(0, 1) if array.dims[0] == "draw" else values, array.values)


@pytest.mark.parametrize("chains", [1, 4])
def test_groups_names_and_coordinates(gaussian, chains):
    draws = posterior_predictive(*gaussian, COUNT)
    tree = to_arviz(draws, prior_predictive(gaussian[0], COUNT), chains=chains)
    assert isinstance(tree, getattr(az, "InferenceData", object) if az.__version__ < "1" else xr.DataTree)
    check(tree, GROUPS | PRIOR, draws)
    assert tree["posterior"].sizes["chain"] == chains


def test_a_round_trip_through_netcdf(gaussian, tmp_path):
    draws = posterior_predictive(*gaussian, COUNT)
    to_arviz(draws, prior_predictive(gaussian[0], COUNT)).to_netcdf(tmp_path / "draws.nc")
    check(az.from_netcdf(tmp_path / "draws.nc"), GROUPS | PRIOR, draws)
    check(opened(tmp_path / "draws.nc"), GROUPS | PRIOR, draws)


@pytest.mark.parametrize("corrected", [False, True])
def test_draws_that_go_to_a_file_are_those_of_memory(gaussian, tmp_path, corrected):
    options = {"corrected": corrected, "memory": 64 * 128 * 60}
    draws = posterior_predictive(*gaussian, COUNT, **options)
    path = tmp_path / "new" / "draws.nc"
    filed = posterior_predictive(*gaussian, COUNT, out=path, **options)
    assert filed.path == path
    assert [p.name for p in path.parent.iterdir()] == ["draws.nc"]
    for key, array in draws.arrays.items():
        assert filed.arrays[key].dims == array.dims
        assert torch.equal(filed.arrays[key].values, array.values)
    check(opened(path), GROUPS, draws)
    check(az.from_netcdf(path), GROUPS, draws)
    check(to_arviz(filed), GROUPS, draws)
    filed.latents["z"].zero_()  # in memory alone
    assert torch.equal(torch.from_numpy(opened(path)["posterior"]["z"].values[0]), draws.latents["z"])
    assert opened(path)["posterior"].attrs["corrected"] == corrected


def test_plates_and_latents_of_all_data_keep_their_dimensions(tmp_path):
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


def test_arviz_works_on_them(gaussian):
    """Summary, LOO and plots. What ArviZ and matplotlib say of each other's deprecations is theirs."""
    import matplotlib as mpl

    mpl.use("Agg")
    draws = posterior(*gaussian, 400)
    tree = to_arviz(draws, chains=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        table = az.summary(tree, var_names=["z"])
        z = draws.latents["z"].flatten(1)
        assert table.index[1] == "z[0, 1]"
        assert [float(m) for m in table["mean"]] == pytest.approx(z.mean(0).tolist(), abs=0.02)
        assert all(float(r) < 1.05 for r in table["r_hat"])
        loo = az.loo(tree)
        assert loo.n_data_points == SIZE
        # Of leaving out a datum whose latents are its own, LOO by importance sampling: log 1 / mean 1 / p(x | z).
        plain = (torch.tensor(400.0).log() - (-draws.log_likelihood).logsumexp(0)).sum().item()
        assert float(getattr(loo, "elpd", None) or loo.elpd_loo) == pytest.approx(plain, abs=1.0)
        az.plot_pair(tree, var_names=["z"], coords={"datum": [0]})
        az.plot_trace(tree, var_names=["z"], coords={"datum": [0]})
        az.plot_dist(tree if az.__version__ >= "1" else tree["posterior"]["z"])


def test_how_draws_print(gaussian, tmp_path):
    text = repr(posterior_predictive(*gaussian, COUNT, corrected=True, out=tmp_path / "draws.nc"))
    lines = text.splitlines()
    assert lines[0] == f"40 corrected posterior draws of 6 data, in {tmp_path / 'draws.nc'}"
    assert any(line.split()[:2] == ["posterior", "z"] and "(draw 40, datum 6, z_dim 2)" in line for line in lines)
    assert lines[-1].startswith("effective draws of a datum: median")
    assert len(lines) <= 24

    def many(x=None, *, size=None):
        with pyro.plate("data", size or len(x), dim=-1):
            for i in range(40):
                pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))

    text = repr(prior_predictive(many, 2000))
    assert len(text.splitlines()) <= 24
    assert "and 20 more" in text
    assert "8 kB" in text


def test_names_of_dimensions():
    assert event_dims("z", 0) == ()
    assert event_dims("z", 1) == ("z_dim",)
    assert event_dims("x", 2) == ("row", "column")
    assert event_dims("z", 3) == ("z_channel", "z_row", "z_column")
    assert event_dims("x", 4) == ("x_dim_0", "x_dim_1", "x_dim_2", "x_dim_3")


# ------------------------------------------------------------------------------------------------- errors


def test_draws_of_one_kind_once(gaussian, says):
    draws = posterior(*gaussian, 4)
    for wrong in ((), (draws, draws)):
        with says(PairError, "at most one of each kind", "to_arviz(posterior(...), prior(...))"):
            to_arviz(*wrong)
    for chains in (0, 3):
        with says(PairError, "4 draws", f"{chains} chains"):
            to_arviz(draws, chains=chains)


@pytest.mark.parametrize("package", ["arviz", "xarray"])
def test_arviz_is_not_there(gaussian, package, monkeypatch, says):
    draws = posterior(*gaussian, 4)
    monkeypatch.setitem(sys.modules, package, None)
    with says(MissingExtraError, package, "pip install 'pyrovae[inspect]'"):
        to_arviz(draws)


@pytest.mark.parametrize("package", ["h5netcdf", "h5py", "xarray"])
def test_what_writes_files_is_not_there(gaussian, package, monkeypatch, tmp_path, says):
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
