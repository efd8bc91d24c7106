"""Draws of posterior, prior and predictions: where all is exact, on the layouts a pair may have, and every error."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import NonFiniteError, PairError, ShapeError
from pyrovae.inference import evaluate, posterior, posterior_predictive, prior, prior_predictive
from pyrovae.models import Program


def covariances(z):
    """Of draws `(S, N, D)`, for each datum `(N, D, D)`."""
    centred = z - z.mean(0)
    return torch.einsum("snd,sne->nde", centred, centred) / (len(z) - 1)


# --------------------------------------------------------------------------------------- against the exact


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 900])
def test_draws_have_the_posteriors_mean_and_covariance(ppca, memory):
    """Chi-square statistics of standardised means and variances, over 40 data; in one chunk, and in many."""
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
    torch.testing.assert_close(draws.effective.double(), torch.full((40,), float(count)).double())
    expected = dist.Normal(ppca.decode(z), ppca.scale).to_event(1).log_prob(data["x"])
    torch.testing.assert_close(draws.log_likelihood, expected)


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 900])
def test_corrected_draws_of_a_wrong_guide_are_the_posteriors(ppca, memory):
    data, guide, count = ppca.data(40), ppca.guide(0.1, 2.0), 500
    wrong = posterior(ppca.model, guide, data, count)
    draws = posterior(ppca.model, guide, data, count, corrected=True, proposals=20_000, memory=memory)
    spread = ppca.covariance.diagonal().sqrt()

    def mean_square(z):
        return ((z.mean(0) - ppca.posterior_mean(data["x"])) / spread * math.sqrt(count)).square().mean()

    def worst(z):
        return (covariances(z).mean(0) / ppca.covariance - 1).abs().max()

    assert mean_square(wrong.latents["z"]) > 5
    assert worst(wrong.latents["z"]) > 2
    # Some 5,000 of the proposals count, so that the draws' own error is nearly all there is.
    assert abs(mean_square(draws.latents["z"]) - 1) < 4 * math.sqrt(2 / 80)
    assert worst(draws.latents["z"]) < 0.1
    assert draws.corrected
    assert (draws.effective > 3000).all()
    estimate = draws.log_weights.logsumexp(0) - math.log(count)
    torch.testing.assert_close(estimate, ppca.evidence.log_prob(data["x"]), rtol=0, atol=0.08)
    expected = dist.Normal(ppca.decode(draws.latents["z"]), ppca.scale).to_event(1).log_prob(data["x"])
    torch.testing.assert_close(draws.log_likelihood, expected)


def test_weights_are_those_of_an_evaluation(ppca):
    data, guide = ppca.data(10), ppca.guide(0.1, 1.5)
    draws = posterior(ppca.model, guide, data, 4000)
    measured = evaluate(ppca.model, guide, data, num_samples=4000, compile=False)
    estimate = draws.log_weights.logsumexp(0) - math.log(4000)
    error = measured.per_datum["log_evidence_error"]
    assert ((estimate - measured.per_datum["log_evidence"]).abs() < 6 * error).all()
    weights = draws.log_weights.softmax(0)
    torch.testing.assert_close(draws.effective.double(), 1 / weights.square().sum(0), rtol=1e-4, atol=0)


def test_predictions_have_the_exact_moments(ppca):
    data = ppca.data(3)
    x = posterior_predictive(ppca.model, ppca.guide(), data, 20_000, log_weights=False).predictive["x"]
    cov = ppca.weight @ ppca.covariance @ ppca.weight.T + ppca.scale**2 * torch.eye(5).double()
    off = (x.mean(0) - ppca.decode(ppca.posterior_mean(data["x"]))) / cov.diagonal().sqrt() * math.sqrt(20_000)
    assert off.abs().max() < 5
    torch.testing.assert_close(covariances(x), cov.expand(3, 5, 5), rtol=0.1, atol=0.05)


def test_the_prior_and_its_predictions(ppca):
    draws = prior_predictive(ppca.model, 20_000, memory=64 * 128 * 5000)
    z, x = draws.latents["z"], draws.predictive["x"]
    assert (z.shape, x.shape) == ((20_000, 1, 2), (20_000, 1, 5))
    assert z.mean(0).abs().max() < 5 / math.sqrt(20_000)
    torch.testing.assert_close(covariances(x)[0], ppca.evidence.covariance_matrix, rtol=0.1, atol=0.1)
    torch.testing.assert_close((x - ppca.decode(z)).std(0), torch.full((1, 5), ppca.scale).double(), rtol=0.05, atol=0)
    assert prior(ppca.model, 5).predictive == {}
    assert draws.log_weights is draws.log_likelihood is draws.effective is None


def test_compiled_draws_are_the_eager_ones(ppca, captured_only):
    data = ppca.data(5)
    eager, compiled = (posterior(ppca.model, ppca.guide(0.1), data, 20, compile=compile) for compile in (False, True))
    for key, array in eager.arrays.items():
        torch.testing.assert_close(compiled.arrays[key].values, array.values)


# ------------------------------------------------------------------------------------ a pair of one's own

PROBS, OFFSETS = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([-1.0, 0.0, 1.5]).double()


def own_model(t, x=None, *, size=None):
    """Two levels, a class that is summed out, three measurements, a covariate t; u ~ N(0, 1), z ~ N(u, 1)."""
    with pyro.plate("data", len(t) if size is None else size, dim=-1):
        c = pyro.sample("c", dist.Categorical(PROBS), infer={"enumerate": "parallel"})
        u = pyro.sample("u", dist.Normal(torch.zeros(()).double(), 1.0))
        with pyro.plate("measurements", 3, dim=-2):
            z = pyro.sample("z", dist.Normal(u, 1.0))
            pyro.sample("x", dist.Normal(z + OFFSETS[c] * t, 0.5), obs=None if x is None else x.T)


def own_guide(x, t):
    with pyro.plate("data", len(x), dim=-1):
        u = pyro.sample("u", dist.Normal(0.6 * x.mean(-1), 1.1))
        with pyro.plate("measurements", 3, dim=-2):
            pyro.sample("z", dist.Normal(0.7 * x.T + 0.2 * u, 1.2))


def own_data(size=8):
    return {"x": torch.randn(size, 3).double() + 1, "t": torch.rand(size).double() + 0.5, "y": torch.arange(size)}


def own_posterior(data):
    """E[u | x], p(c | x) exactly: given c, x_j = u + noise of variance 1 + 0.25."""
    residual = data["x"].unsqueeze(-1) - OFFSETS * data["t"].reshape(-1, 1, 1)  # (N, 3, classes)
    precision = 1 + 3 / 1.25
    mean = residual.sum(1) / 1.25 / precision  # E[u | x, c], (N, classes)
    joint = dist.MultivariateNormal(torch.zeros(3).double(), 1.25 * torch.eye(3).double() + 1)
    of_class = (joint.log_prob(residual.mT) + PROBS.log()).softmax(-1)
    return (of_class * mean).sum(-1), of_class


def test_a_pair_of_ones_own_with_a_class_drawn_from_its_exact_conditional():
    data, count = own_data(), 4000
    draws = posterior(own_model, own_guide, data, count, memory=64 * 128 * 3000)
    assert {n: tuple(v.shape) for n, v in draws.latents.items()} == {
        "c": (count, 8),
        "u": (count, 8),
        "z": (count, 8, 3),
    }
    assert list(draws.given) == ["t", "y"]
    c, z = draws.latents["c"], draws.latents["z"]
    assert not c.is_floating_point()
    # p(c | z, x) by hand, against how often each class came
    terms = dist.Normal(z.unsqueeze(-1) + OFFSETS * data["t"].reshape(-1, 1, 1), 0.5).log_prob(data["x"].unsqueeze(-1))
    exact = (terms.sum(2) + PROBS.log()).softmax(-1)
    came = torch.nn.functional.one_hot(c, 3)
    error = (exact * (1 - exact)).sum(0).sqrt() / count
    assert ((came.double().mean(0) - exact.mean(0)).abs() < 4.5 * error + 1e-9).all()


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 3000])
def test_corrected_draws_of_all_its_latents_are_the_posteriors(memory):
    data, count = own_data(), 2000
    draws = posterior(own_model, own_guide, data, count, corrected=True, proposals=40_000, memory=memory)
    mean, of_class = own_posterior(data)
    came = torch.nn.functional.one_hot(draws.latents["c"], 3).double().mean(0)
    error = (1 / count + 1 / draws.effective.unsqueeze(-1)).sqrt()
    assert ((came - of_class).abs() < 5 * 0.5 * error).all()
    assert ((draws.latents["u"].mean(0) - mean).abs() < 5 * error.squeeze(-1)).all()


def test_predictions_follow_the_class_and_the_covariate():
    data = own_data()
    draws = posterior_predictive(own_model, own_guide, data, 3000, memory=64 * 128 * 1000)
    loc = draws.latents["z"] + (OFFSETS[draws.latents["c"]] * data["t"]).unsqueeze(-1)
    noise = draws.predictive["x"] - loc
    assert noise.shape == (3000, 8, 3)
    assert abs(noise.std() - 0.5) < 0.01
    assert abs(noise.mean()) < 0.01


def test_the_prior_given_covariates():
    given = {"t": torch.tensor([0.0, 2.0]).double()}
    draws = prior_predictive(own_model, 8000, given=given, memory=64 * 128 * 3000)
    assert draws.predictive["x"].shape == (8000, 2, 3)
    mean = (PROBS * OFFSETS).sum() * given["t"]
    assert ((draws.predictive["x"].mean((0, 2)) - mean).abs() < 0.1).all()
    assert torch.equal(draws.given["t"], given["t"])
    assert set(draws.latents) == {"c", "u", "z"}


def test_sites_and_plates_are_selected():
    data = own_data(4)
    for wanted, names in (
        (["u"], {"u"}),
        ("measurements", {"z"}),
        (["measurements", "u"], {"z", "u"}),
        ("data", {"c", "u", "z"}),
        ([], set()),
    ):
        assert set(posterior(own_model, own_guide, data, 2, sites=wanted).latents) == names
    assert set(prior(own_model, 2, given={"t": data["t"]}, sites=["c"]).latents) == {"c"}


def test_without_weights_the_model_runs_only_where_it_must():
    calls = []

    def model(t, x=None, *, size=None):
        calls.append(1)
        return own_model(t, x, size=size)

    def run(**options):
        calls.clear()
        draws = posterior(model, own_guide, own_data(4), 5, log_weights=False, **options)
        assert draws.log_weights is draws.log_likelihood is draws.effective is None
        return len(calls)

    assert run(sites=["u", "z"]) == 1  # to read the layout
    assert run() > 1


class Regression(Program):
    """x = z + b + noise, with b outside the plate "data", which is subsampled, and a vector w in a plate of its own."""

    def forward(self, x=None, *, size=None, data_size=None):
        rows = len(x) if size is None else size
        with pyro.plate("parts", 3, dim=-1):
            w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        b = pyro.sample("b", dist.Normal(0.0, 2.0))
        b = b + 0 * w.sum((-1, -2)).unsqueeze(-1) if w.dim() > 2 else b + 0 * w.sum()
        with pyro.plate("data", data_size or rows, subsample_size=rows, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            return pyro.sample("x", dist.Normal(z + b, 0.5), obs=x)


def regression_guide(x, data_size=None):
    with pyro.plate("parts", 3, dim=-1):
        pyro.sample("w", dist.Normal(torch.zeros(2), 0.1).to_event(1))
    b = pyro.sample("b", dist.Normal(0.3, 0.4))
    with pyro.plate("data", data_size or len(x), subsample_size=len(x), dim=-1):
        pyro.sample("z", dist.Normal(b + 0 * x, 0.01))


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 20])
def test_a_latent_of_all_data_is_the_same_for_all_of_them(memory):
    x = torch.randn(30)
    draws = posterior_predictive(Regression(), regression_guide, {"x": x}, 50, memory=memory)
    b, z, w = (draws.latents[name] for name in "bzw")
    assert (b.shape, z.shape, w.shape) == ((50,), (50, 30), (50, 3, 2))
    assert (z - b.unsqueeze(-1)).abs().max() < 0.06
    assert draws.log_weights is draws.effective is None
    expected = dist.Normal(z + b.unsqueeze(-1), 0.5).log_prob(x)
    torch.testing.assert_close(draws.log_likelihood, expected)
    assert abs((draws.predictive["x"] - z - b.unsqueeze(-1)).std() - 0.5) < 0.05
    assert set(posterior(Regression(), regression_guide, {"x": x}, 3, sites=["parts"]).latents) == {"w"}
    assert prior(Regression(), 4).latents["b"].shape == (4,)


# ------------------------------------------------------------------------------ the pairs of the suite, states


def test_every_pair_of_the_suite(representative):
    pair = representative
    size = len(pair.batch["x"])
    for options in ({}, {"corrected": True, "proposals": 4}, {"log_weights": False}):
        draws = posterior_predictive(pair.model, pair.guide, pair.batch, 3, **options)
        assert {n: tuple(z.shape[2:]) for n, z in draws.latents.items()} == pair.latent
        assert all(z.shape[:2] == (3, size) for z in draws.latents.values())
        assert draws.predictive["x"].shape == (3, *pair.batch["x"].shape)
        assert torch.equal(draws.observed["x"], pair.batch["x"])


def test_one_draw_of_one_datum(ppca):
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


# ------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_samples": 0}, ("num_samples", "got 0")),
        ({"corrected": True, "proposals": 0}, ("proposals", "0")),
        ({"sites": ["z", "w"]}, ("'w'", "sites 'z'", "plates 'data'")),
        ({"sites": [], "log_weights": False}, ("nothing is asked for",)),
    ],
)
def test_what_cannot_be_drawn(ppca, options, words, says):
    with says(PairError, *words):
        posterior(ppca.model, ppca.guide(), ppca.data(2), **options)


def test_no_data(ppca, says):
    with says(PairError, "empty", "data.test"):
        posterior(ppca.model, ppca.guide(), {"x": torch.zeros(0, 5)})
    with says(ShapeError, "leading dimension"):
        posterior(ppca.model, ppca.guide(), {"x": torch.zeros(3, 5), "y": torch.zeros(2)})
    with says(PairError, "num_samples"):
        prior(ppca.model, 0)


def test_a_latent_of_all_data_has_no_corrected_draws(says):
    with says(PairError, "outside the plate 'data'", "Drop corrected=True"):
        posterior(Regression(), regression_guide, {"x": torch.randn(5)}, 3, corrected=True)


def test_a_latent_that_nothing_draws(says):
    def guide(x):
        pass

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)

    with says(PairError, "'z'", "guide"):
        posterior(model, guide, {"x": torch.zeros(3)})


@pytest.mark.parametrize("scale", [1.0, math.nan])
def test_weights_that_are_all_zero(scale, says):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Uniform(2.0, 3.0))

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Uniform(0.0, torch.where(x > 1, 4.0, 1.0)))
            pyro.sample("x", dist.Normal(z, torch.where(x > 1, 1.0, scale)), obs=x)

    data = {"x": torch.tensor([2.0, 0.5, 2.0, 0.7])}
    with says(NonFiniteError, "rows [1, 3]", "proposals"):
        posterior(model, guide, data, 3, corrected=True)
    with says(NonFiniteError, "rows [1]", "proposals"):
        posterior(model, guide, data, 3, corrected=True, memory=64 * 128 * 8)


def test_a_model_that_does_not_generate(ppca, says):
    def model(x):
        return ppca.model(x)

    with says(PairError, "'x'", "default"):
        posterior_predictive(model, ppca.guide(), ppca.data(2), 3)

    def silent(x=None, *, size=None):
        if x is not None:
            return ppca.model(x)
        with pyro.plate("data", size, dim=-1):
            return pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))

    with says(PairError, "no site 'x'", "'z'"):
        posterior_predictive(silent, ppca.guide(), ppca.data(2), 3)


def test_the_prior_is_not_given_what_it_draws(ppca, says):
    with says(PairError, "'x'", "given"):
        prior(ppca.model, 3, given=ppca.data(2))
