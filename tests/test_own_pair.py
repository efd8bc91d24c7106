"""Every tool runs on a pair that is not among those of the suite.

It has two latents, a label that is summed out, and a plate of covariates.
"""

import re
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.inference import (
    Annealing,
    check_pair,
    compare_evidence,
    diagnose,
    encode,
    evaluate,
    fit,
    generate,
    latent_map,
    nuts,
    posterior_predictive,
    reconstruct,
    sandwich,
    to_arviz,
    traverse,
)
from pyrovae.report import write_report


class Weather(nn.Module):
    """p(kind) p(z) p(wind) prod_j p(c_j | wind) p(x | z, wind, kind), as a plain `nn.Module`."""

    def __init__(self):
        super().__init__()
        self.decoder, self.slopes = nn.Linear(3, 4), nn.Parameter(torch.randn(3, 1))
        self.offsets = nn.Parameter(torch.tensor([-2.0, 2.0]))

    def model(self, x=None, c=None, *, size=None):
        pyro.module("weather", self)
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            kind = pyro.sample("kind", dist.Categorical(torch.tensor([0.3, 0.7])), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            wind = pyro.sample("wind", dist.Normal(0.0, 1.0))
            with pyro.plate("covariates", 3, dim=-2):
                pyro.sample("c", dist.Normal(self.slopes * wind, 0.5), obs=None if c is None else c.T)
            loc = self.decoder(torch.cat([z, wind.unsqueeze(-1)], -1)) + self.offsets[kind].unsqueeze(-1)
            return pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)


class Forecast(nn.Module):
    """q(z | x, c) q(wind | x, c)."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(7, 6)

    def guide(self, x, c):
        pyro.module("forecast", self)
        loc, log_scale = self.encoder(torch.cat([x, c], -1)).chunk(2, -1)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(loc[..., :2], log_scale[..., :2].exp()).to_event(1))
            pyro.sample("wind", dist.Normal(loc[..., 2], log_scale[..., 2].exp()))


@pytest.fixture(scope="module")
def trained():
    """The pair, trained on data of another one, and the first 40 of these."""
    torch.manual_seed(0)
    pyro.clear_param_store()
    truth = Weather()
    with torch.no_grad():
        trace = pyro.poutine.trace(truth.model).get_trace(size=300)
        data = {"x": trace.nodes["x"]["value"], "c": trace.nodes["c"]["value"].T.contiguous()}
    pyro.clear_param_store()
    model, guide = Weather().model, Forecast().guide
    check_pair(model, guide, data)
    before = evaluate(model, guide, data, num_samples=50)
    options = {"progress": False, "compile": False, "optim": (torch.optim.Adam, {"lr": 0.02})}
    fit(model, guide, data, epochs=60, batch_size=100, **options)
    after = evaluate(model, guide, data, num_samples=200)
    assert after.elbo.value > before.elbo.value + 5
    return model, guide, {name: tensor[:40] for name, tensor in data.items()}


def test_draws_and_their_file(trained, tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("arviz")
    draws = posterior_predictive(*trained, 50)
    assert {n: tuple(v.shape) for n, v in draws.latents.items()} == {
        "kind": (50, 40),
        "z": (50, 40, 2),
        "wind": (50, 40),
    }
    to_arviz(draws).to_netcdf(str(tmp_path / "posterior.nc"))
    with xarray.open_dataset(tmp_path / "posterior.nc", group="posterior") as group:
        assert group.z.dims == ("chain", "draw", "datum", "z_dim")
    with xarray.open_dataset(tmp_path / "posterior.nc", group="posterior_predictive") as group:
        assert set(group.data_vars) == {"x", "c"}
        assert "covariates" in group.c.dims


def test_trust(trained):
    model, guide, data = trained
    trust = diagnose(model, guide, data, num_samples=60, num_simulations=30, num_refined=3)
    assert {"z", "wind"} == set(trust.latents)
    assert trust.gaps is not None
    assert "summed out" in trust.absent["latent kind"]
    compared = nuts(model, guide, {n: t[:1] for n, t in data.items()}, num_samples=6, num_warmup=6, max_tree_depth=3)
    assert set(compared.draws) == {"z", "wind"}


def test_evidence_from_both_sides(trained):
    model, guide, data = trained
    few, how = {n: t[:8] for n, t in data.items()}, Annealing(num_chains=4, num_temperatures=12, num_leapfrog=4)
    table = compare_evidence(model, guide, few, how, num_samples=500, num_simulations=8, compile=False)
    assert all(row.estimate is not None for row in table.rows)
    assert (table.per_datum["guide"] - table.per_datum["log_evidence"]).abs().mean() < 1
    both = sandwich(model, guide, 40, replace(how, num_temperatures=30), num_samples=200, compile=False)
    assert -3 * both.gap.error < both.gap.value < 0.5


def test_the_latent_space(trained):
    model, guide, data = trained
    assert set(encode(model, guide, data)) == {"z", "wind"}
    assert generate(model, 5).shape == (5, 4)
    moved = traverse(model, guide, data, latent="z", num_dims=2, num_steps=3, code={"kind": torch.tensor(1)})
    assert moved.x.shape == (2, 3, 4)
    assert latent_map(model, guide, data, latent="z").mean.shape == (40, 2)
    error = (reconstruct(model, guide, data) - data["x"]).square().mean()
    assert error < data["x"].var()


def test_the_report(trained, tmp_path):
    page = write_report(*trained, run=tmp_path).read_text()
    for section in ("Trust", "Evidence", "Posterior draws", "Latent map of z", "Traversals of z"):
        assert re.search(section, page), section
    assert len(page) < 5e6
