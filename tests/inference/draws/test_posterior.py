"""Draws of the posterior and of predictions, where all is exact, and on the layouts that a pair may have."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError, SettingError, ShapeError
from pyrovae.inference import evaluate, posterior, posterior_predictive

# ---------------------------------------------------------------------------------------- against the exact


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 900])
def test_draws_have_the_posteriors_mean_and_covariance(ppca, covariances, memory):
    """Chi-square statistics of standardised means and variances over 40 data points, in one chunk and in several."""
    data, count = ppca.data(40), 3000
    draws = posterior(ppca.model, ppca.guide(), data, count, memory=memory)
    z = draws.latents["z"]
    assert z.shape == (count, 40, 2)
    spread = ppca.covariance.diagonal().sqrt()
    off = (z.mean(0) - ppca.posterior_mean(data["x"])) / spread * math.sqrt(count)
    assert abs(off.square().mean() - 1) < 4 * math.sqrt(2 / 80)
    off = (covariances(z) - ppca.covariance) / torch.outer(spread, spread) * math.sqrt(count / 2)
    assert off.abs().max() < 5
    exact = ppca.evidence.log_prob(data["x"])
    torch.testing.assert_close(draws.log_weights, exact.expand(count, 40))
    torch.testing.assert_close(draws.effective_sample_size.double(), torch.full((40,), float(count)).double())
    expected = dist.Normal(ppca.decode(z), ppca.scale).to_event(1).log_prob(data["x"])
    torch.testing.assert_close(draws.log_likelihood, expected)


def test_weights_are_those_of_an_evaluation(ppca):
    data, guide = ppca.data(10), ppca.guide(0.1, 1.5)
    draws = posterior(ppca.model, guide, data, 4000)
    measured = evaluate(ppca.model, guide, data, num_samples=4000, compile=False)
    estimate = draws.log_weights.logsumexp(0) - math.log(4000)
    error = measured.per_datum["log_evidence_error"]
    assert ((estimate - measured.per_datum["log_evidence"]).abs() < 6 * error).all()
    weights = draws.log_weights.softmax(0)
    torch.testing.assert_close(draws.effective_sample_size.double(), 1 / weights.square().sum(0), rtol=1e-4, atol=0)


def test_predictions_have_the_exact_moments(ppca, covariances):
    data = ppca.data(3)
    x = posterior_predictive(ppca.model, ppca.guide(), data, 20_000, log_weights=False).predictive["x"]
    cov = ppca.weight @ ppca.covariance @ ppca.weight.T + ppca.scale**2 * torch.eye(5).double()
    off = (x.mean(0) - ppca.decode(ppca.posterior_mean(data["x"]))) / cov.diagonal().sqrt() * math.sqrt(20_000)
    assert off.abs().max() < 5
    torch.testing.assert_close(covariances(x), cov.expand(3, 5, 5), rtol=0.1, atol=0.05)


def test_compiled_draws_are_the_eager_ones(ppca, captured_only):
    data = ppca.data(5)
    eager, compiled = (posterior(ppca.model, ppca.guide(0.1), data, 20, compile=compile) for compile in (False, True))
    for key, array in eager.arrays.items():
        torch.testing.assert_close(compiled.arrays[key].values, array.values)


# ---------------------------------------------------------------------------------------------- other pairs


def test_a_pair_of_ones_own_with_a_class_drawn_from_its_exact_conditional(own):
    data, count = own.data(), 4000
    draws = posterior(own.model, own.guide, data, count, memory=64 * 128 * 3000)
    assert {n: tuple(v.shape) for n, v in draws.latents.items()} == {
        "c": (count, 8),
        "u": (count, 8),
        "z": (count, 8, 3),
    }
    assert list(draws.given) == ["t", "y"]
    c, z = draws.latents["c"], draws.latents["z"]
    assert not c.is_floating_point()
    # p(c | z, x) in closed form, and how often each class was drawn
    loc = z.unsqueeze(-1) + own.offsets * data["t"].reshape(-1, 1, 1)
    terms = dist.Normal(loc, 0.5).log_prob(data["x"].unsqueeze(-1))
    exact = (terms.sum(2) + own.probs.log()).softmax(-1)
    came = torch.nn.functional.one_hot(c, 3)
    error = (exact * (1 - exact)).sum(0).sqrt() / count
    assert ((came.double().mean(0) - exact.mean(0)).abs() < 4.5 * error + 1e-9).all()


def test_predictions_follow_the_class_and_the_covariate(own):
    data = own.data()
    draws = posterior_predictive(own.model, own.guide, data, 3000, memory=64 * 128 * 1000)
    loc = draws.latents["z"] + (own.offsets[draws.latents["c"]] * data["t"]).unsqueeze(-1)
    noise = draws.predictive["x"] - loc
    assert noise.shape == (3000, 8, 3)
    assert abs(noise.std() - 0.5) < 0.01
    assert abs(noise.mean()) < 0.01


def test_without_weights_the_model_runs_only_where_it_must(own):
    calls = []

    def model(t, x=None, *, size=None):
        calls.append(1)
        return own.model(t, x, size=size)

    def run(**options):
        calls.clear()
        draws = posterior(model, own.guide, own.data(4), 5, log_weights=False, **options)
        assert draws.log_weights is draws.log_likelihood is draws.effective_sample_size is None
        return len(calls)

    few = run(sites=["u", "z"])  # to read the layout, and to check that draws and rows do not mix
    assert few == 4
    assert run() > few


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 20])
def test_a_latent_of_all_data_is_the_same_for_all_of_them(regression, memory):
    x = torch.randn(30)
    draws = posterior_predictive(*regression, {"x": x}, 50, memory=memory)
    b, z, w = (draws.latents[name] for name in "bzw")
    assert (b.shape, z.shape, w.shape) == ((50,), (50, 30), (50, 3, 2))
    assert (z - b.unsqueeze(-1)).abs().max() < 0.06
    assert draws.log_weights is draws.effective_sample_size is None
    expected = dist.Normal(z + b.unsqueeze(-1), 0.5).log_prob(x)
    torch.testing.assert_close(draws.log_likelihood, expected)
    assert abs((draws.predictive["x"] - z - b.unsqueeze(-1)).std() - 0.5) < 0.05
    assert set(posterior(*regression, {"x": x}, 3, sites=["parts"]).latents) == {"w"}


def test_every_pair_of_the_suite(representative):
    pair = representative
    size = len(pair.batch["x"])
    for options in ({}, {"corrected": True, "proposals": 4}, {"log_weights": False}):
        draws = posterior_predictive(pair.model, pair.guide, pair.batch, 3, **options)
        assert {n: tuple(z.shape[2:]) for n, z in draws.latents.items()} == pair.latent
        assert all(z.shape[:2] == (3, size) for z in draws.latents.values())
        assert draws.predictive["x"].shape == (3, *pair.batch["x"].shape)
        assert torch.equal(draws.observed["x"], pair.batch["x"])


# -------------------------------------------------------------------------- chunks, seeds, input and output


def test_one_draw_of_one_data_point(ppca):
    data = ppca.data(1)
    for corrected in (False, True):
        draws = posterior_predictive(ppca.model, ppca.guide(), data, 1, corrected=corrected, proposals=1)
        assert (draws.latents["z"].shape, draws.predictive["x"].shape) == ((1, 1, 2), (1, 1, 5))


def test_the_seed_decides_and_the_global_state_stays(ppca):
    data, rng = ppca.data(3), torch.get_rng_state()
    one, same, other = (posterior(ppca.model, ppca.guide(), data, 4, seed=s).latents["z"] for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), rng)


def test_a_transform_comes_first_and_pixels_are_scaled(ppca):
    data = ppca.data(3)
    draws = posterior(ppca.model, ppca.guide(), {"x": data["x"] / 2}, 2, transform=lambda b: {"x": 2 * b["x"]})
    assert torch.equal(draws.observed["x"], data["x"])

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Delta(x))

    def model(x=None, *, size=None):
        with pyro.plate("data", size or len(x), dim=-1):
            pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)

    draws = posterior(model, guide, {"x": torch.tensor([0, 255], dtype=torch.uint8)}, 1)
    assert draws.latents["z"].tolist() == [[0.0, 1.0]]


def test_predictions_are_draws_with_the_same_options(ppca):
    """`posterior_predictive` passes each of its arguments on."""
    data, options = ppca.data(3), {"sites": [], "corrected": True, "proposals": 30, "log_weights": False, "seed": 3}
    options |= {"memory": 64 * 128 * 20, "transform": lambda batch: {"x": batch["x"] / 2}, "compile": False}
    one = posterior(ppca.model, ppca.guide(0.1), data, 5, predictive=True, **options)
    other = posterior_predictive(ppca.model, ppca.guide(0.1), data, 5, **options)
    assert [key.group for key in other.arrays] == ["posterior_predictive", "observed_data"]
    assert torch.equal(one.predictive["x"], other.predictive["x"])


@pytest.mark.parametrize("draw", [posterior, posterior_predictive])
@pytest.mark.parametrize(("options", "total"), [({}, 6), ({"corrected": True, "proposals": 10}, 10)])
def test_the_progress_bar_counts_chunks(ppca, capsys, draw, options, total):
    """There are two chunks of data points, of three or five parts of their draws or proposals."""
    data, shared = ppca.data(2), {"memory": 64 * 128 * 2, "compile": False} | options
    draw(ppca.model, ppca.guide(0.1), data, 6, **shared)
    assert not capsys.readouterr().err
    draw(ppca.model, ppca.guide(0.1), data, 6, progress=True, **shared)
    assert f"{total}/{total}" in (shown := capsys.readouterr().err)
    assert "chunk" in shown


def test_the_progress_bar_says_that_it_compiles(ppca, captured_only, capsys):
    posterior(ppca.model, ppca.guide(0.1), ppca.data(2), 6, compile=True, progress=True)
    assert "compiling" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_samples": 0}, ("num_samples", "got 0")),
        ({"corrected": True, "proposals": 0}, ("proposals", "0")),
        ({"sites": ["z", "w"]}, ("'w'", "sites 'z'", "plates 'data'")),
        ({"sites": [], "log_weights": False}, ("something to keep", "sites=None")),
    ],
)
def test_what_cannot_be_drawn(ppca, options, words, says):
    with says((PairError, SettingError), *words):
        posterior(ppca.model, ppca.guide(), ppca.data(2), **options)


def test_no_data(ppca, says):
    with says(PairError, "empty", "data.test"):
        posterior(ppca.model, ppca.guide(), {"x": torch.zeros(0, 5)})
    with says(ShapeError, "leading dimension"):
        posterior(ppca.model, ppca.guide(), {"x": torch.zeros(3, 5), "y": torch.zeros(2)})


def test_a_latent_that_nothing_draws(says):
    def guide(x):
        pass

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)

    with says(PairError, "'z'", "guide"):
        posterior(model, guide, {"x": torch.zeros(3)})
