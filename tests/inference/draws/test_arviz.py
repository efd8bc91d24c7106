"""Draws as ArviZ's groups, on either generation of ArviZ."""

import sys
import warnings

import pytest
import torch

from pyrovae.errors import MissingExtraError, PairError, SettingError
from pyrovae.inference import posterior, posterior_predictive, prior_predictive, to_arviz

az, xr = pytest.importorskip("arviz"), pytest.importorskip("xarray")


@pytest.mark.parametrize("num_chains", [1, 4])
def test_groups_names_and_coordinates(gaussian, check, num_chains):
    draws = posterior_predictive(*gaussian, 40)
    tree = to_arviz(draws, prior_predictive(gaussian[0], 40), num_chains=num_chains)
    assert isinstance(tree, getattr(az, "InferenceData", object) if az.__version__ < "1" else xr.DataTree)
    check(tree, draws, with_prior=True)
    assert tree["posterior"].sizes["chain"] == num_chains


def test_arviz_works_on_them(gaussian):
    """Summary, LOO and plots work, apart from what ArviZ and matplotlib deprecate in each other."""
    import matplotlib as mpl

    mpl.use("Agg")
    draws = posterior(*gaussian, 400)
    tree = to_arviz(draws, num_chains=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        table = az.summary(tree, var_names=["z"])
        z = draws.latents["z"].flatten(1)
        assert table.index[1] == "z[0, 1]"
        assert [float(m) for m in table["mean"]] == pytest.approx(z.mean(0).tolist(), abs=0.02)
        assert all(float(r) < 1.05 for r in table["r_hat"])
        loo = az.loo(tree)
        assert loo.n_data_points == 6
        # LOO by importance sampling, for a data point with latents of its own, is log 1 / mean 1 / p(x | z).
        plain = (torch.tensor(400.0).log() - (-draws.log_likelihood).logsumexp(0)).sum().item()
        assert float(getattr(loo, "elpd", None) or loo.elpd_loo) == pytest.approx(plain, abs=1.0)
        az.plot_pair(tree, var_names=["z"], coords={"datum": [0]})
        az.plot_trace(tree, var_names=["z"], coords={"datum": [0]})
        az.plot_dist(tree if az.__version__ >= "1" else tree["posterior"]["z"])


# --------------------------------------------------------------------------------------------------- errors


def test_draws_of_one_kind_once(gaussian, says):
    draws = posterior(*gaussian, 4)
    for wrong in ((), (draws, draws)):
        with says(PairError, "at most one of each kind", "to_arviz(posterior(...), prior(...))"):
            to_arviz(*wrong)
    with says(PairError, "4 draws", "3 chains"):
        to_arviz(draws, num_chains=3)
    for num_chains in (0, -1, 2.0):
        with says(SettingError, "num_chains", "at least 1"):
            to_arviz(draws, num_chains=num_chains)


@pytest.mark.parametrize("package", ["arviz", "xarray"])
def test_arviz_is_not_installed(gaussian, package, monkeypatch, says):
    draws = posterior(*gaussian, 4)
    monkeypatch.setitem(sys.modules, package, None)
    with says(MissingExtraError, package, "pip install 'pyrovae[inspect]'"):
        to_arviz(draws)
