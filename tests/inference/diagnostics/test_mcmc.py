"""A guide compared with NUTS."""

from contextlib import nullcontext

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference.diagnostics import nuts


@pytest.mark.slow
def test_nuts_agrees_with_the_exact_posterior(ppca):
    x = ppca.data(1)["x"]
    found = nuts(ppca.model, ppca.guide(), {"x": x}, num_samples=200, num_warmup=100, max_tree_depth=4)
    exact, scale = ppca.posterior_mean(x)[0], ppca.covariance.diagonal().sqrt()
    error = scale / found.effective_sample_size["z"].sqrt()
    assert ((found.mean["z"] - exact).abs() < 4 * error).all()
    torch.testing.assert_close(found.scale["z"], scale, rtol=0.25, atol=0)
    assert found.mean_z["z"].abs().max() < 4
    assert found.draws["z"].shape == (2, 200, 2)
    assert found.mixed
    assert str(found).splitlines()[1].startswith("z[0]")


def test_nuts_finds_a_guide_shifted_and_narrow(ppca):
    x = ppca.data(1)["x"]
    guide = ppca.guide(shift=1.0, stretch=0.1)
    found = nuts(ppca.model, guide, {"x": x}, num_samples=60, num_warmup=40, max_tree_depth=3)
    assert (found.shift["z"] > 2).all()
    torch.testing.assert_close(found.ratio["z"], torch.full((2,), 0.1).double(), rtol=0.5, atol=0)
    assert (found.mean_z["z"] > 5).all()


def test_nuts_requires_one_data_point(ppca, says):
    with says(PairError, "one data point", "got 2"):
        nuts(ppca.model, ppca.guide(), ppca.data(2))


def test_nuts_requires_a_continuous_latent(says):
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            y = pyro.sample("y", dist.Categorical(torch.ones(2)))
            return pyro.sample("x", dist.Normal(y.float(), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", dist.Categorical(torch.ones(len(x), 2)))

    with says(PairError, "continuous latent"):
        nuts(model, guide, {"x": torch.zeros(1)})


@pytest.mark.slow
def test_nuts_runs_on_every_pair_or_says_why(build, request, says):
    pair = build()
    one = {name: tensor[:1] for name, tensor in pair.batch.items()}
    name = request.node.callspec.id
    reason = "all latents of the model are discrete" if name.startswith("codes-") else "with the support Sphere"
    refused = name.startswith("codes-") or name in ("von-mises-fisher-guide", "power-spherical-guide")
    with says(PairError, reason, "evaluate(...)") if refused else nullcontext():
        found = nuts(pair.model, pair.guide, one, num_samples=6, num_warmup=4, max_tree_depth=2)
        assert found.draws
        assert all(draws.isfinite().all() for draws in found.draws.values())


def test_progress_over_the_steps_of_all_chains(ppca, capsys):
    x = ppca.data(1)["x"]
    nuts(ppca.model, ppca.guide(), {"x": x}, num_samples=5, num_warmup=3, max_tree_depth=2, progress=True)
    assert "16/16" in capsys.readouterr().err


def test_chains_that_never_move_have_no_spread(ppca):
    """Leapfrog steps that are far too long are all refused: the scale was 0.00, and shifts were infinite."""
    x = ppca.data(1)["x"]
    stuck = {"num_warmup": 0, "step_size": 1e6, "adapt_step_size": False, "max_tree_depth": 1}
    found = nuts(ppca.model, ppca.guide(), {"x": x}, num_samples=4, **stuck)
    assert (found.draws["z"] == found.draws["z"][:, :1]).all()
    for part in (found.scale, found.shift, found.ratio, found.mean_z, found.effective_sample_size, found.r_hat):
        assert part["z"].isnan().all()
    assert found.mean["z"].isfinite().all()
    assert not found.mixed
    row = str(found).splitlines()[1].split()
    assert row[3] == "-"
    assert row[-5:] == ["-"] * 5
