"""Annealed importance sampling, where p(x) is exact, and on the layouts that a pair may have."""

import math
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from pyrovae.errors import PairError, SettingError
from pyrovae.guides import DeltaGuide, NormalGuide, SemiSupervisedGuide
from pyrovae.inference import Annealing, annealed, evaluate
from pyrovae.inference.evidence.hmc import Path
from pyrovae.inference.pair.on_data import on_data
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.models import VAE, SemiSupervisedVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

SHORT = Annealing(num_temperatures=12, num_leapfrog=4)
TINY = Annealing(num_chains=3, num_temperatures=3, num_leapfrog=1)


def run(model, guide, data, annealing=SHORT, **options):
    return annealed(model, guide, data, annealing, **{"compile": False, "transform": lambda batch: batch} | options)


def off(measured, exact):
    """How far the mean over the data is from the exact one, in standard errors."""
    return abs(measured.log_evidence.value - exact.mean().item()) / measured.log_evidence.error


# ------------------------------------------------------------------------------------------- the schedule


@pytest.mark.parametrize("schedule", ["sigmoid", "linear"])
def test_temperatures_rise_from_zero_to_one(schedule):
    temperatures = Annealing(num_temperatures=10, schedule=schedule).temperatures
    steps = torch.tensor(temperatures).diff()
    assert (temperatures[0], temperatures[-1], len(temperatures)) == (0, 1, 11)
    assert (steps > 0).all()
    torch.testing.assert_close(steps, steps.flip(0))
    assert (steps[5] > 5 * steps[0]) == (schedule == "sigmoid")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"num_chains": 0}, ("num_chains", "at least 1", "0")),
        (
            {"num_temperatures": 0},
            (
                "num_temperatures",
                "at least 1",
            ),
        ),
        ({"num_leapfrog": -1}, ("num_leapfrog", "at least 1", "-1")),
        ({"start": "posterior"}, ("'guide'", "'prior'", "'posterior'")),
        ({"schedule": "cosine"}, ("'sigmoid'", "'linear'", "'cosine'")),
        ({"acceptance": 1.0}, ("between 0 and 1", "1.0")),
        ({"num_chains": 1.5}, ("num_chains", "whole number", "1.5")),
        ({"acceptance": float("nan")}, ("acceptance", "nan")),
    ],
)
def test_what_an_annealing_requires(wrong, words, says):
    with says(SettingError, *words):
        Annealing(**wrong)


# ------------------------------------------------------------------------------- against the exact p(x)


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_the_evidence_is_within_its_stated_errors(ppca, start):
    data = ppca.data(100)
    measured = run(ppca.model, ppca.guide(0.3, 1.3), data, replace(SHORT, start=start, num_temperatures=40))
    exact = ppca.evidence.log_prob(data["x"])
    assert abs(measured.log_evidence.value - exact.mean().item()) < 0.1
    deviations = (measured.per_datum["log_evidence"] - exact) / measured.per_datum["log_evidence_error"]
    assert 0.7 < deviations.std() < 1.6
    assert measured.log_weights.shape == (16, 100)
    assert all(part.shape == (100,) for part in measured.per_datum.values())
    assert 1 < measured.effective_sample_size <= 16
    assert measured.acceptance == pytest.approx(0.65, abs=0.12)


def test_with_the_exact_posterior_every_chain_is_the_evidence(ppca):
    data = ppca.data(5)
    measured = run(ppca.model, ppca.guide(), data)
    exact = ppca.evidence.log_prob(data["x"])
    torch.testing.assert_close(measured.log_weights, exact.expand(16, 5), rtol=0, atol=1e-9)
    assert measured.effective_sample_size == pytest.approx(16)


def test_more_temperatures_tighten_the_bound(ppca):
    data, guide = ppca.data(60), ppca.guide(0.8, 1.5)
    one, some, many = (run(ppca.model, guide, data, replace(SHORT, num_temperatures=t)) for t in (1, 6, 40))
    assert one.log_evidence.value < some.log_evidence.value < many.log_evidence.value
    assert one.effective_sample_size < some.effective_sample_size < many.effective_sample_size
    assert math.isnan(one.acceptance)


def test_the_weights_are_unbiased(ppca):
    """E[w] = p(x) holds with few temperatures and a bad guide, not only in the limit."""
    data = ppca.data(2)
    few = Annealing(num_chains=8000, num_temperatures=3, num_leapfrog=1)
    measured = run(ppca.model, ppca.guide(0.4, 1.3), data, few)
    ratio = (measured.log_weights - ppca.evidence.log_prob(data["x"])).exp()
    assert (ratio.std(0) > 0.3).all()
    assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / math.sqrt(8000)).all()


# ------------------------------------------------------------------------------------------------- any pair


def movable(pair):
    return not isinstance(getattr(pair.guide, "guide", pair.guide), DeltaGuide) and "y" not in pair.latent


def test_one_temperature_is_importance_sampling(representative):
    """The same draws have the same weights after conversion into one vector and back, with the Jacobian."""
    pair = representative
    if not movable(pair):
        pytest.skip("a point mass or a label")
    with on_data("a test", pair.model, pair.guide, pair.batch) as opened:
        path = Path(opened, "guide")
        torch.manual_seed(1)
        point = path.point(path.draw(pair.batch, 3), pair.batch)
        torch.manual_seed(1)
        expected = log_terms(pair.model, pair.guide, pair.batch, 3).log_weight
    torch.testing.assert_close(point.log_ratio, expected, rtol=1e-4, atol=1e-3)
    assert all(slope.isfinite().all() for slope in (point.start_slope, point.joint_slope))
    measured = run(pair.model, pair.guide, pair.batch, Annealing(num_chains=3, num_temperatures=1))
    torch.testing.assert_close(measured.per_datum["log_evidence"], measured.log_weights.logsumexp(0) - math.log(3))


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_constrained_latents(two_supports, start):
    data = {"x": torch.tensor([0.0, 1.0, 3.0, 8.0]).double().repeat(5), "y": torch.arange(20) % 3}
    how = replace(SHORT, start=start, num_temperatures=30)
    measured = run(two_supports.model, two_supports.guide, data, how)
    assert off(measured, two_supports.log_evidence(data)) < 4
    assert measured.log_evidence.error < 0.06


def dependent(x=None, *, size=None):
    """z is uniform on (0, 2), and u on (0, z), so the support of one latent depends on another."""
    with pyro.plate("data", len(x) if size is None else size, dim=-1):
        z = pyro.sample("z", dist.Uniform(torch.zeros(()).double(), 2.0))
        u = pyro.sample("u", dist.Uniform(torch.zeros_like(z), z))
        pyro.sample("x", dist.Normal(u, 0.5), obs=x)


def dependent_guide(x):
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Uniform(torch.zeros(()).double(), 2.0))
        pyro.sample("u", dist.Uniform(torch.zeros_like(z), z))


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_a_support_that_depends_on_a_latent(start):
    x = torch.linspace(-0.5, 2, 20).double()
    z = torch.linspace(0, 2, 2001).double()[1:]
    normal = dist.Normal(torch.zeros(()).double(), 1.0)
    inner = (normal.cdf(2 * (z - x.unsqueeze(-1))) - normal.cdf(-2 * x).unsqueeze(-1)) / z
    measured = run(dependent, dependent_guide, {"x": x}, replace(SHORT, start=start, num_temperatures=20))
    assert off(measured, inner.mean(-1).log()) < 4


@pytest.mark.parametrize("num_chains", [1, 16])
@pytest.mark.parametrize("start", ["guide", "prior"])
def test_enumerated_latents_and_inner_plates(mixture, start, num_chains):
    data = {"x": torch.randn(30, 2).double()}
    how = replace(SHORT, start=start, num_temperatures=30, num_chains=num_chains)
    measured = run(mixture.model, mixture.guide, data, how)
    difference = measured.per_datum["log_evidence"] - mixture.log_evidence(data)
    assert abs(difference.mean()) < max(4 * difference.std() / math.sqrt(30), 0.1)
    assert difference.std() < (0.6 if num_chains > 1 else 1.5)


def test_the_labels_of_m2_summed_out(says):
    """Where the guide draws a label, the error says what to write, and that works."""
    likelihood = likelihoods.Bernoulli(6)
    model = SemiSupervisedVAE(priors.StandardNormal(2), likelihood, JointMLP([2, 3], 6, (5,)), 3)
    guide = SemiSupervisedGuide(MLP(6, 3, (5,)), NormalGuide(JointMLP([6, 3], 4, (5,))))
    x = {"x": torch.rand(8, 6).round()}
    with says(PairError, "'y'", "discrete", "leave it out of the guide", 'infer={"enumerate": "parallel"}'):
        run(model, guide, x)
    summed, codes = pyro.infer.config_enumerate(model), NormalGuide(MLP(6, 4, (5,)))
    measured = run(summed, codes, x)
    other = evaluate(summed, codes, x, num_samples=20_000).log_evidence
    assert abs(measured.log_evidence.value - other.value) < 5 * measured.log_evidence.error


def test_a_masked_data_point_has_the_evidence_zero(ppca):
    seen = torch.tensor([True, False, True])

    def masked(program):
        return lambda x: poutine.mask(program, mask=seen[: len(x)])(x)

    data = ppca.data(3)
    measured = run(masked(ppca.model), masked(ppca.guide(0.1)), data, replace(SHORT, num_temperatures=30))
    exact = torch.where(seen, ppca.evidence.log_prob(data["x"]), 0.0)
    torch.testing.assert_close(measured.per_datum["log_evidence"], exact, rtol=0, atol=0.2)


# ---------------------------------------------------------------- compiled, chunks, state, input and output


@pytest.mark.usefixtures("captured_only")
@pytest.mark.parametrize("start", ["guide", "prior"])
def test_what_is_captured_is_what_runs_eagerly(start):
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    data, how = {"x": torch.rand(5, 4).round()}, replace(TINY, start=start)
    eager, compiled = (run(model, guide, data, how, compile=compile) for compile in (False, True))
    torch.testing.assert_close(eager.log_weights, compiled.log_weights, rtol=0, atol=1e-2)
    assert eager.acceptance == pytest.approx(compiled.acceptance, abs=1e-3)


@pytest.mark.slow
def test_compiled_is_eager():
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    data = {"x": torch.rand(5, 4).round()}
    eager, compiled = (run(model, guide, data, compile=compile) for compile in (False, True))
    torch.testing.assert_close(eager.per_datum["log_evidence"], compiled.per_datum["log_evidence"], rtol=0, atol=0.05)


def test_chunks_keep_the_data_in_order(ppca):
    data = ppca.data(7)
    measured = run(ppca.model, ppca.guide(0.1), data, memory=64 * 128 * 16 * 3)
    exact = ppca.evidence.log_prob(data["x"])
    assert (measured.per_datum["log_evidence"] - exact).abs().max() < 0.4
    assert exact.max() - exact.min() > 2


def test_the_seed_decides_and_nothing_is_disturbed():
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    model.decoder.layers.append(nn.Dropout(0.5))
    data, state = {"x": torch.rand(3, 4).round()}, torch.get_rng_state()
    one, same, other = (run(model, guide, data, TINY, seed=seed).log_weights for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(parameter.grad is None for parameter in (*model.parameters(), *guide.parameters()))
    assert not list(pyro.get_param_store())


def test_stored_pixels_are_scaled_by_default():
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    x = torch.randint(0, 2, (3, 4))
    stored = annealed(model, guide, {"x": (255 * x).to(torch.uint8)}, TINY)
    assert torch.equal(stored.log_weights, run(model, guide, {"x": x.float()}, TINY).log_weights)


def test_how_an_annealed_estimate_prints(ppca):
    lines = str(run(ppca.model, ppca.guide(0.1), ppca.data(2))).splitlines()
    assert [line.split()[0] for line in lines] == ["log_evidence", "effective_sample_size", "acceptance", "path"]
    assert "from the guide, 12 temperatures of 4 leapfrog steps" in lines[3]


@pytest.mark.parametrize(("num_temperatures", "total"), [(1, 1), (12, 12 + 3)])
def test_the_progress_bar_counts_temperatures(ppca, capsys, num_temperatures, total):
    """The preliminary pass visits three of eleven temperatures; there are two chunks of data points."""
    how = replace(SHORT, num_temperatures=num_temperatures, num_leapfrog=1)
    options = {"memory": 64 * 128 * 16 * 3}
    plain = run(ppca.model, ppca.guide(0.1), ppca.data(6), how, **options)
    assert not capsys.readouterr().err
    shown = run(ppca.model, ppca.guide(0.1), ppca.data(6), how, progress=True, **options)
    assert f"{2 * total}/{2 * total}" in (err := capsys.readouterr().err)
    assert "temperature" in err
    assert plain.log_weights.shape == shown.log_weights.shape


def test_the_progress_bar_says_that_it_compiles(captured_only, capsys):
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    run(model, guide, {"x": torch.rand(5, 4).round()}, TINY, compile=True, progress=True)
    assert "compiling" in capsys.readouterr().err


def test_no_data(ppca, says):
    with says(PairError, "empty", "data.test"):
        run(ppca.model, ppca.guide(), {"x": torch.zeros(0, 5)})
