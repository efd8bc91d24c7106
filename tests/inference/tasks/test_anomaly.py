"""Anomaly scores against closed forms, and thresholds that keep their rate."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae import data
from pyrovae.errors import DataError, PairError, SettingError, ShapeError
from pyrovae.guides import FlowGuide, NormalGuide
from pyrovae.inference import gaps
from pyrovae.inference.tasks.anomaly import SCORES, anomaly_scores, threshold
from pyrovae.inference.tasks.complexity import complexity
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


@pytest.fixture
def batch(ppca):
    return ppca.data(40)


def scores(ppca, batch, kind, guide=None, **options):
    return anomaly_scores(ppca.model, guide or ppca.guide(), batch, kind=kind, **options)


# --------------------------------------------------------------------------------------------- what they are


@pytest.mark.parametrize("kind", ["elbo", "evidence"])
def test_with_the_exact_posterior_it_is_minus_log_p_of_x(kind, ppca, batch):
    exact = -ppca.evidence.log_prob(batch["x"])
    assert torch.allclose(scores(ppca, batch, kind, num_samples=3), exact)


def test_the_evidence_is_tighter_than_the_elbo(ppca, batch):
    wide = ppca.guide(stretch=1.5)
    loose, tight = (scores(ppca, batch, kind, wide, num_samples=500).mean() for kind in ("elbo", "evidence"))
    exact = -ppca.evidence.log_prob(batch["x"]).mean()
    assert exact - 0.01 < tight < exact + 0.05 < loose


def reconstruction(ppca, x):
    """|x - W m - mu|^2 with m the posterior's mean."""
    return (x - ppca.decode(ppca.posterior_mean(x))).square().sum(1)


def test_the_reconstruction_probability_is_the_expected_log_likelihood(ppca, batch):
    variance = ppca.scale**2
    spread = torch.trace(ppca.weight @ ppca.covariance @ ppca.weight.T)  # of W z under the posterior
    exact = (reconstruction(ppca, batch["x"]) + spread) / (2 * variance) + 2.5 * math.log(2 * math.pi * variance)
    measured = scores(ppca, batch, "reconstruction", num_samples=4000)
    assert torch.allclose(measured, exact, atol=0.15)


def test_errors_are_those_of_the_mean_code(ppca, batch):
    error = scores(ppca, batch, "error")
    assert torch.allclose(error, reconstruction(ppca, batch["x"]))
    prior = dist.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    posterior = dist.MultivariateNormal(ppca.posterior_mean(batch["x"]), ppca.covariance)
    rate = torch.distributions.kl_divergence(posterior, prior)
    assert torch.allclose(scores(ppca, batch, "error+rate", num_samples=4000), error + rate, atol=0.2)


def test_the_regret_is_what_the_encoder_lacks(ppca):
    """A guide that is right but for its mean is refined to the posterior: the regret is their KL."""
    batch, shift = ppca.data(3), torch.tensor([0.3, -0.2]).double()
    regret = scores(ppca, batch, "regret", ppca.guide(shift), num_samples=1000, num_steps=40)
    lacking = shift @ ppca.covariance.inverse() @ shift / 2
    assert regret.shape == (3,)
    assert torch.allclose(regret, lacking.expand(3), rtol=0.15)


def test_far_data_score_higher_by_every_kind(ppca):
    x = ppca.data(20)["x"]
    far = {"x": torch.cat([x, x + 8 * torch.randn(20, 5).double()])}
    for kind in SCORES.keys() - {"regret", "complexity"}:
        found = scores(ppca, far, kind, num_samples=20)
        assert found.dtype == torch.float64
        assert found[20:].mean() > found[:20].mean() + 10, kind


def test_the_same_seed_gives_the_same_scores_and_leaves_the_global_state_alone(ppca, batch):
    wide, state = ppca.guide(stretch=2.0), torch.random.get_rng_state()
    one, same, other = (scores(ppca, batch, "elbo", wide, num_samples=5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_error_of_a_guide_without_a_mean_follows_the_seed():
    """The code of a flow is a transformed draw, even where the mean is asked for."""
    model = VAE(priors.StandardNormal(3), likelihoods.Normal(3), MLP(3, 3))
    guide, batch = FlowGuide(MLP(3, 10, (5,)), dim=3, context=4, hidden=(5,)), {"x": torch.randn(4, 3)}
    one, same, other = (anomaly_scores(model, guide, batch, kind="error", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("kind", sorted(SCORES.keys() - {"complexity", "regret"}))
def test_any_pair_has_scores(kind, representative):
    pair = representative
    found = anomaly_scores(pair.model, pair.guide, pair.batch, kind=kind, num_samples=2)
    assert found.shape == (6,)
    assert found.isfinite().all()


# ------------------------------------------------------------------------------- corrected by complexity


def small_vae():
    """A pair of 8 x 6 images, and eight images."""
    likelihood = likelihoods.Bernoulli((1, 8, 6))
    model = VAE(priors.StandardNormal(2), likelihood, MLP(2, (1, 8, 6), (5,)))
    return model, NormalGuide(MLP((1, 8, 6), 4, (5,))), {"x": torch.rand(8, 1, 8, 6).round()}


def test_the_corrected_score_is_the_evidence_less_the_complexity():
    model, guide, batch = small_vae()
    grey = {"x": (255 * batch["x"]).byte()}
    options = {"num_samples": 5, "transform": data.Binarize("threshold")}
    prepared = options["transform"].prepare(grey)
    corrected, plain = (anomaly_scores(model, guide, prepared, kind=k, **options) for k in ("complexity", "evidence"))
    assert torch.allclose(plain - corrected, complexity(batch["x"]))


def test_data_of_unknown_complexity(ppca, batch, says):
    with says(DataError, "complexity requires images", "(40, 5)", "kind='evidence'"):
        scores(ppca, batch, "complexity")


# ----------------------------------------------------------------------------------------------- threshold


def test_a_quantile_of_the_scores():
    assert threshold(torch.arange(101.0), quantile=0.9) == 90


def test_the_rate_of_false_alarms_is_kept_on_average():
    """By exchangeability it is (N + 1 - rank) / (N + 1), here 1 / 20 exactly."""
    clean = torch.randn(4000, 39).exp()
    alarms = [(threshold(row, false_alarms=0.05), new) for row, new in zip(clean, torch.randn(4000).exp(), strict=True)]
    rate = sum(new > line for line, new in alarms) / 4000
    assert abs(rate - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 4000)


def test_the_rank_of_the_threshold():
    assert threshold(torch.arange(1.0, 20.0), false_alarms=0.05) == 19  # the 19th of 19
    assert threshold(torch.arange(1.0, 100.0).flip(0), false_alarms=0.1) == 90


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["one of quantile and false_alarms", "quantile=None"]),
        ({"quantile": 0.5, "false_alarms": 0.5}, ["one of quantile and false_alarms", "false_alarms=0.5"]),
        ({"false_alarms": 0.01}, ["at most 0.01", "got 10", "at least 99 scores"]),
    ],
)
def test_thresholds_that_do_not_exist(options, words, says):
    with says(DataError, *words):
        threshold(torch.randn(10), **options)


@pytest.mark.parametrize("value", [1.5, -0.1, math.nan, "0.5"])
@pytest.mark.parametrize("name", ["quantile", "false_alarms"])
def test_rates_without_a_meaning(name, value, says):
    with says(SettingError, f"{name} requires a number", "0.05" if name == "false_alarms" else "0.95"):
        threshold(torch.randn(10), **{name: value})


def test_scores_that_have_no_threshold(says):
    for broken in (math.nan, math.inf, -math.inf):
        with says(DataError, "2 NaN or infinite ones of 3"):
            threshold(torch.tensor([broken, 1.0, broken]), quantile=0.5)
    with says(ShapeError, "(3, 2)"):
        threshold(torch.zeros(3, 2), quantile=0.5)
    with says(ShapeError, "(0,)"):
        threshold(torch.zeros(0), quantile=0.5)


# -------------------------------------------------------------------------------------------------- errors


def test_an_unknown_kind(ppca, batch, says):
    with says(PairError, "no kind 'elob'", "'elbo'", "'regret'"):
        scores(ppca, batch, "elob")


def test_no_data(ppca, says):
    with says(PairError, "empty batch"):
        scores(ppca, ppca.data(0), "elbo")


def test_a_latent_of_all_data_leaves_no_evidence_of_one(says):
    def shared(x=None, *, size=None, data_size=None):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        rows = size or len(x)
        with pyro.plate("data", data_size or rows, subsample_size=rows, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            return pyro.sample("x", dist.Normal(z + b, 1.0), obs=x)

    def guide(x, data_size=None):
        pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", data_size or len(x), subsample_size=len(x), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, 1.0))

    with says(PairError, "outside the plate 'data'"):
        anomaly_scores(shared, guide, {"x": torch.randn(5)}, kind="evidence")


def test_the_regret_is_the_amortisation_gap():
    model, guide, batch = small_vae()
    options = {"num_steps": 10, "num_samples": 5}
    regret = anomaly_scores(model, guide, batch, kind="regret", **options)
    assert torch.equal(regret, gaps(model, guide, batch, **options).per_datum["amortisation"])


@pytest.mark.parametrize("option", ["num_steps", "lr", "num_particles"])
def test_an_option_that_the_kind_does_not_use(option, ppca, batch, says):
    with says(PairError, "'elbo'", f"{option}=3", "are 'regret'"):
        scores(ppca, batch, "elbo", **{option: 3})


def test_the_error_is_not_compiled(ppca, batch, says):
    with says(PairError, "'error'", "compile=True", "'elbo', 'evidence'"):
        scores(ppca, batch, "error", compile=True)


def test_a_misspelt_option_is_refused(ppca, batch, says):
    with says(TypeError, "num_sample"):
        scores(ppca, batch, "error", num_sample=3)


@pytest.mark.parametrize("kind", ["elbo", "evidence", "error"])
def test_bytes_are_scaled_once(kind):
    model, guide, batch = small_vae()
    grey = {"x": (255 * batch["x"]).byte()}
    assert torch.equal(*(anomaly_scores(model, guide, one, kind=kind, num_samples=3) for one in (grey, batch)))


def test_the_bar_is_shown_and_changes_nothing(ppca, batch, capsys):
    quiet = scores(ppca, batch, "error")
    assert "data point" not in capsys.readouterr().err
    assert torch.equal(scores(ppca, batch, "error", progress=True), quiet)
    assert "40/40" in capsys.readouterr().err
