"""Annealed importance sampling and bidirectional Monte Carlo, where p(x) and the posterior are exact."""

import math
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from pyrovae.errors import PairError, ShapeError
from pyrovae.guides import ConditionalGuide, DeltaGuide, NormalGuide, SemiSupervisedGuide
from pyrovae.inference import Annealing, annealed, compare_evidence, evaluate, sandwich
from pyrovae.inference.evidence.hmc import Path, transition
from pyrovae.inference.pair.running import evaluating, seeded
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.models import VAE, ConditionalVAE, SemiSupervisedVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

CPU = torch.device("cpu")
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
        ({"num_chains": 0}, ("num_chains >= 1", "0")),
        ({"num_temperatures": 0}, ("num_temperatures >= 1",)),
        ({"num_leapfrog": -1}, ("num_leapfrog >= 1", "-1")),
        ({"start": "posterior"}, ("'guide'", "'prior'", "'posterior'")),
        ({"schedule": "cosine"}, ("'sigmoid'", "'linear'", "'cosine'")),
        ({"acceptance": 1.0}, ("between 0 and 1", "1.0")),
    ],
)
def test_an_annealing_that_is_none(wrong, words, says):
    with says(PairError, *words):
        Annealing(**wrong)


# ------------------------------------------------------------------------------------------------ the kernel


def steps(pair, factor):
    """In units of the smallest scale of the posterior: at 2 leapfrog steps become unstable."""
    return factor * torch.linalg.eigvalsh(pair.covariance).min().sqrt().expand(3, 2)


def chains(pair, start, count):
    """A path at 3 data of a linear-Gaussian pair, and points drawn from the exact posterior."""
    data = pair.data(3)
    path = Path(pair.model, pair.guide(0.5, 1.5), data, start=start, size=3)
    posterior = dist.MultivariateNormal(pair.posterior_mean(data["x"]), pair.covariance)
    return path, data, posterior, path.point(posterior.sample((count,)), data)


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_the_kernel_leaves_the_posterior_as_it_is(ppca, start):
    with evaluating(ppca.model), seeded(1, CPU):
        path, data, posterior, point = chains(ppca, start, 4000)
        for _ in range(4):
            point, rate = transition(path, point, data, 1.0, steps(ppca, 1.4), 4)
    assert 0.5 < rate.mean() < 0.97  # steps so large that without the correction the chains would be off
    z = point.u
    assert ((z.mean(0) - posterior.mean).abs() < 5 * (ppca.covariance.diagonal() / 4000).sqrt()).all()
    for datum in range(3):
        torch.testing.assert_close(z[:, datum].T.cov(), ppca.covariance, rtol=0.15, atol=0.01)


def test_without_the_correction_the_kernel_would_be_off(ppca, monkeypatch):
    """The test above has power: it fails for a kernel that always accepts."""
    monkeypatch.setattr("pyrovae.inference.evidence.hmc.torch.rand_like", torch.zeros_like)
    with evaluating(ppca.model), seeded(1, CPU):
        path, data, _, point = chains(ppca, "prior", 4000)
        for _ in range(4):
            point, _ = transition(path, point, data, 1.0, steps(ppca, 1.4), 4)
    spread = point.u.var(0) / ppca.covariance.diagonal()
    assert spread.max() > 1.15


def test_detailed_balance(ppca):
    """At equilibrium, going from u to u' is as frequent as going from u' to u: E f(u) g(u') = E f(u') g(u)."""
    with evaluating(ppca.model), seeded(2, CPU):
        path, data, posterior, point = chains(ppca, "prior", 20_000)
        end, _ = transition(path, point, data, 1.0, steps(ppca, 1.2), 3)
    u, v = ((p.u - posterior.mean)[..., 0] for p in (point, end))
    for f, g in ((torch.square, torch.abs), (torch.tanh, lambda u: u**3), (lambda u: u > 0.3, torch.square)):
        difference = f(u) * g(v) - f(v) * g(u)
        assert difference.abs().mean() > 0
        assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(difference.numel())


def test_a_path_that_runs_off_is_rejected(ppca):
    with evaluating(ppca.model), seeded(0, CPU):
        path, data, _, point = chains(ppca, "prior", 5)
        end, rate = transition(path, point, data, 1.0, steps(ppca, 1e200), 3)
    assert (rate == 0).all()
    assert all(torch.equal(old, new) for old, new in zip(point, end, strict=True))


def test_the_gradients_are_those_of_the_densities(ppca):
    with evaluating(ppca.model):
        path, data, _, point = chains(ppca, "guide", 2)
        nudge = 1e-6 * torch.randn_like(point.u)
        near = path.point(point.u + nudge, data)
    for temperature in (0.0, 0.3, 1.0):
        change = near.log_density(temperature) - point.log_density(temperature)
        torch.testing.assert_close(change, (nudge * point.slope(temperature)).sum(-1), rtol=1e-3, atol=1e-10)


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
    assert 1 < measured.ess <= 16
    assert measured.acceptance == pytest.approx(0.65, abs=0.12)


def test_with_the_exact_posterior_every_chain_is_the_evidence(ppca):
    data = ppca.data(5)
    measured = run(ppca.model, ppca.guide(), data)
    exact = ppca.evidence.log_prob(data["x"])
    torch.testing.assert_close(measured.log_weights, exact.expand(16, 5), rtol=0, atol=1e-9)
    assert measured.ess == pytest.approx(16)


def test_more_temperatures_tighten_the_bound(ppca):
    data, guide = ppca.data(60), ppca.guide(0.8, 1.5)
    one, some, many = (run(ppca.model, guide, data, replace(SHORT, num_temperatures=t)) for t in (1, 6, 40))
    assert one.log_evidence.value < some.log_evidence.value < many.log_evidence.value
    assert one.ess < some.ess < many.ess
    assert math.isnan(one.acceptance)


def test_the_weights_are_unbiased(ppca):
    """E[w] = p(x) with few temperatures, from a bad guide: not in the limit, but at once."""
    data = ppca.data(2)
    few = Annealing(num_chains=8000, num_temperatures=3, num_leapfrog=1)
    measured = run(ppca.model, ppca.guide(0.4, 1.3), data, few)
    ratio = (measured.log_weights - ppca.evidence.log_prob(data["x"])).exp()
    assert (ratio.std(0) > 0.3).all()
    assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / math.sqrt(8000)).all()


def test_the_sandwich_brackets_the_exact_evidence(ppca):
    both = sandwich(ppca.model, ppca.guide(0.1, 1.2), 100, SHORT, num_samples=200, compile=False)
    assert both.gap.value < 0.1
    assert both.gap.value > -3 * both.gap.error
    with seeded(0, CPU):
        x = poutine.trace(ppca.model).get_trace(size=100).nodes["x"]["value"]
    exact = ppca.evidence.log_prob(x).mean().item()
    assert both.lower.log_evidence.value < exact + 3 * both.lower.log_evidence.error
    assert both.upper.log_evidence.value > exact - 3 * both.gap.error
    assert both.gap.value == pytest.approx(both.upper.log_evidence.value - both.lower.log_evidence.value)


def test_the_sandwich_measures_how_far_the_elbo_is_off(ppca):
    """log p(x) - ELBO = KL(q || p(z | x)), which is closed."""
    both = sandwich(ppca.model, ppca.guide(0.3, 1.3), 60, replace(SHORT, num_temperatures=40), compile=False)
    q = dist.MultivariateNormal(torch.full((2,), 0.3).double(), ppca.covariance * 1.3**2)
    kl = torch.distributions.kl_divergence(q, dist.MultivariateNormal(torch.zeros(2).double(), ppca.covariance)).item()
    low, high = both.shortfall("elbo")
    assert low.value - 3 * low.error < kl < high.value + 3 * high.error
    assert high.value - low.value == pytest.approx(both.gap.value)
    assert "below log p(x) by" in str(both)
    assert [line.split()[0] for line in str(both).splitlines()] == ["upper", "lower", "gap", "5,000", "ELBO", "nats"]


# ------------------------------------------------------------------------------------------------- any pair


def movable(pair):
    return not isinstance(getattr(pair.guide, "guide", pair.guide), DeltaGuide) and "y" not in pair.latent


def test_one_temperature_is_importance_sampling(representative):
    """The same draws have the same weights: latents go into one vector and come back, with their Jacobian."""
    pair = representative
    if not movable(pair):
        pytest.skip("a point mass or a label")
    size = len(pair.batch["x"])
    with evaluating(pair.model, pair.guide):
        torch.manual_seed(1)
        wanted = log_terms(pair.model, pair.guide, pair.batch, 3).log_weight
        path = Path(pair.model, pair.guide, pair.batch, start="guide", size=size)
        torch.manual_seed(1)
        point = path.point(path.draw(pair.batch, 3), pair.batch)
    torch.testing.assert_close(point.log_ratio, wanted, rtol=1e-4, atol=1e-3)
    assert all(slope.isfinite().all() for slope in (point.start_slope, point.joint_slope))
    measured = run(pair.model, pair.guide, pair.batch, Annealing(num_chains=3, num_temperatures=1))
    torch.testing.assert_close(measured.per_datum["log_evidence"], measured.log_weights.logsumexp(0) - math.log(3))


def test_from_the_prior_the_weight_is_the_likelihood(ppca):
    data = ppca.data(4)
    with evaluating(ppca.model):
        path = Path(ppca.model, ppca.guide(), data, start="prior", size=4)
        point = path.point(path.draw(data, 3), data)
    likelihood = dist.Normal(ppca.decode(point.u), ppca.scale).to_event(1).log_prob(data["x"])
    torch.testing.assert_close(point.log_ratio, likelihood)


COUNTS, RATE, PRIOR = torch.tensor([0.0, 1.0, 3.0, 8.0]).double(), 0.8, torch.tensor([1.0, 2.0, 0.5]).double()


def two_supports(x=None, y=None, *, size=None):
    """A rate on the half line and a vector on the simplex: p(x, y) is negative binomial times categorical."""
    with pyro.plate("data", len(x) if size is None else size, dim=-1):
        rate = pyro.sample("rate", dist.Gamma(torch.tensor(2.0).double(), RATE))
        pyro.sample("x", dist.Poisson(rate), obs=x)
        probs = pyro.sample("probs", dist.Dirichlet(PRIOR))
        pyro.sample("y", dist.Categorical(probs), obs=y)


def two_supports_guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("probs", dist.Dirichlet(1.5 * torch.ones(3).double()))
        pyro.sample("rate", dist.LogNormal((x + 1).log(), torch.tensor(0.8).double()))


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_constrained_latents(start):
    data = {"x": COUNTS.repeat(5), "y": torch.arange(20) % 3}
    exact = dist.NegativeBinomial(2.0, probs=torch.tensor(1 / (1 + RATE)).double()).log_prob(data["x"])
    exact = exact + (PRIOR / PRIOR.sum()).log()[data["y"]]
    measured = run(two_supports, two_supports_guide, data, replace(SHORT, start=start, num_temperatures=30))
    assert off(measured, exact) < 4
    assert measured.log_evidence.error < 0.06


def test_the_sandwich_of_constrained_latents():
    both = sandwich(two_supports, two_supports_guide, 40, replace(SHORT, num_temperatures=30), compile=False)
    assert -3 * both.gap.error < both.gap.value < 0.15


def dependent(x=None, *, size=None):
    """p(u) uniform on (0, z), z uniform on (0, 2): the support of one latent is decided by another."""
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


PROBS, CENTRES = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([-1.0, 0.4, 2.0]).double()


def mixture(x=None, *, size=None):
    """c decides the prior of z, and two measurements lie in a plate of their own."""
    count = len(x) if size is None else size
    with pyro.plate("data", count, dim=-1):
        c = pyro.sample("c", dist.Categorical(PROBS), infer={"enumerate": "parallel"})
        z = pyro.sample("z", dist.Normal(CENTRES[c], 0.5))
        with pyro.plate("measurements", 2, dim=-2):
            shift = pyro.sample("shift", dist.Normal(torch.zeros(()).double(), 0.3))
            pyro.sample("x", dist.Normal(z + shift, 0.7), obs=None if x is None else x.T)


def mixture_guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(x.mean(-1), 0.6))
        with pyro.plate("measurements", 2, dim=-2):
            pyro.sample("shift", dist.Normal(torch.zeros(()).double(), 0.4))


def mixture_evidence(x):
    noise = (0.7**2 + 0.3**2) * torch.eye(2).double()
    normals = dist.MultivariateNormal(CENTRES.unsqueeze(-1).expand(3, 2), 0.25 + noise)
    return (normals.log_prob(x.unsqueeze(-2)) + PROBS.log()).logsumexp(-1)


@pytest.mark.parametrize("num_chains", [1, 16])
@pytest.mark.parametrize("start", ["guide", "prior"])
def test_enumerated_latents_and_inner_plates(start, num_chains):
    x = torch.randn(30, 2).double()
    how = replace(SHORT, start=start, num_temperatures=30, num_chains=num_chains)
    measured = run(mixture, mixture_guide, {"x": x}, how)
    difference = measured.per_datum["log_evidence"] - mixture_evidence(x)
    assert abs(difference.mean()) < max(4 * difference.std() / math.sqrt(30), 0.1)
    assert difference.std() < (0.6 if num_chains > 1 else 1.5)


def test_the_sandwich_of_enumerated_latents_and_inner_plates():
    both = sandwich(mixture, mixture_guide, 60, replace(SHORT, num_temperatures=30), compile=False)
    assert -3 * both.gap.error < both.gap.value < 0.1


def test_the_labels_of_m2_summed_out(says):
    """A label that the guide draws: the message says what to write, and that works."""
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


def test_a_masked_datum_has_no_evidence_to_find(ppca):
    seen = torch.tensor([True, False, True])

    def masked(program):
        return lambda x: poutine.mask(program, mask=seen[: len(x)])(x)

    data = ppca.data(3)
    measured = run(masked(ppca.model), masked(ppca.guide(0.1)), data, replace(SHORT, num_temperatures=30))
    exact = torch.where(seen, ppca.evidence.log_prob(data["x"]), 0.0)
    torch.testing.assert_close(measured.per_datum["log_evidence"], exact, rtol=0, atol=0.2)


# --------------------------------------------------------------------------------- compiled, chunks, state


@pytest.mark.usefixtures("captured_only")
@pytest.mark.parametrize("start", ["guide", "prior"])
def test_what_is_captured_is_what_runs_eagerly(start):
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    data, how = {"x": torch.rand(5, 4).round()}, replace(TINY, start=start)
    eager, compiled = (run(model, guide, data, how, compile=compile) for compile in (False, True))
    torch.testing.assert_close(eager.log_weights, compiled.log_weights, rtol=0, atol=1e-2)
    assert eager.acceptance == pytest.approx(compiled.acceptance, abs=1e-3)


def test_one_graph_serves_all_temperatures(captured_only):
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    data = {"x": torch.rand(5, 4).round()}
    with evaluating(model, guide):
        path = Path(model, guide, data, start="guide", size=5, compile=True)
        point = path.point(path.draw(data, 3), data)
        for temperature in (0.2, 0.5, 1.0):
            point, _ = transition(path, point, data, temperature, torch.full((5, 2), 0.1), 2)
    assert len(path.leapfrog) == path.leapfrog.captures == 1


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
    assert [line.split()[0] for line in lines] == ["log_evidence", "ess", "acceptance", "path"]
    assert "from the guide, 12 temperatures of 4 leapfrog steps" in lines[3]


# ------------------------------------------------------------------------------------------------- one table


def test_the_table(ppca):
    data, how = ppca.data(20), replace(SHORT, num_temperatures=20, num_leapfrog=2)
    table = compare_evidence(
        ppca.model, ppca.guide(0.1, 1.2), data, how, num_samples=500, simulated=30, transform=None, compile=False
    )
    names = ["ELBO", "importance sampling", "AIS from the guide", "AIS from the prior"]
    names += ["ELBO", "importance sampling", "AIS from the guide", "the same backwards"]
    assert [row.estimator.startswith(name) for row, name in zip(table.rows, names, strict=True)] == [True] * 8
    assert [row.data for row in table.rows] == ["given"] * 4 + ["simulated"] * 4
    exact = ppca.evidence.log_prob(data["x"]).mean().item()
    for name in names[1:4]:
        row = table["given", name]
        assert abs(row.estimate.value - exact) < 4 * row.estimate.error + 0.2
        assert row.seconds > 0
        assert row.ess > 1
    assert table["given", "ELBO"].estimate.value < exact
    assert table["simulated", "the same backwards"].estimate == table.sandwich.upper.log_evidence
    assert set(table.per_datum) == {"elbo", "log_evidence", "guide", "prior"}
    assert all(part.shape == (20,) for part in table.per_datum.values())
    lines = str(table).splitlines()
    assert len(lines) == 9
    assert all(word in lines[0] for word in ("estimator", "nats per datum", "ESS", "seconds"))
    assert max(map(len, lines)) < 130


def test_what_cannot_be_estimated_is_noted():
    """A point mass is no start; a model that does not generate gives no data: the other rows are there."""
    decoder = MLP(2, 4)
    vae = VAE(priors.StandardNormal(2), likelihoods.Normal(4), decoder)

    def model(x):
        return vae(x)

    guide, data = DeltaGuide(MLP(4, 2)), {"x": torch.rand(3, 4)}
    table = compare_evidence(model, guide, data, TINY, num_samples=2, compile=False)
    assert table["given", "AIS from the guide"].estimate is None
    assert "point mass" in table["given", "AIS from the guide"].note
    assert table["given", "AIS from the prior"].estimate is not None
    assert "size" in table["simulated", "sandwich"].note
    assert table.sandwich is None
    assert table.rows[-1].estimator == "sandwich"
    table = compare_evidence(model, guide, data, TINY, num_samples=2, simulated=0, compile=False)
    assert len(table.rows) == 4


def test_the_table_of_a_conditional_pair():
    """The labels of the first data are what the simulated ones are conditioned on."""
    prior, likelihood = priors.StandardNormal(2), likelihoods.Bernoulli(6)
    model = ConditionalVAE(prior, likelihood, JointMLP([2, 3], 6, (5,)))
    guide = ConditionalGuide(NormalGuide(JointMLP([6, 3], 4, (5,))))
    data = {"x": torch.rand(5, 6).round(), "y": torch.randint(3, (5,)), "unused": torch.zeros(5)}
    table = compare_evidence(model, guide, data, TINY, num_samples=50, simulated=30, compile=False)
    assert table.sandwich.per_datum["lower"].shape == (5,)


# ----------------------------------------------------------------------------------------------------- errors


def test_no_data(ppca, says):
    with says(PairError, "empty", "data.test"):
        run(ppca.model, ppca.guide(), {"x": torch.zeros(0, 5)})


def outside(x, data_size=None):
    pyro.sample("bias", dist.Normal(0.0, 1.0))
    with pyro.plate("data", data_size or len(x), subsample_size=len(x), dim=-1):
        pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)


def outside_guide(x):
    pyro.sample("bias", dist.Normal(0.0, 1.0))


def test_a_latent_of_all_data(says):
    with says(PairError, "outside the plate 'data'", "pyro.condition"):
        run(outside, outside_guide, {"x": torch.zeros(3)})


def one_latent(fn, **infer):
    def program(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", fn, infer=infer)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    return program


def draws(fn, name="z", **infer):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample(name, fn, infer=infer)

    return guide


class Unsupported(dist.Normal):
    @property
    def support(self):
        raise NotImplementedError


NORMAL = dist.Normal(0.0, 1.0)


@pytest.mark.parametrize(
    ("model", "guide", "words"),
    [
        (one_latent(dist.Poisson(1.0)), draws(dist.Poisson(2.0)), ("'z'", "discrete", "enumerate")),
        (one_latent(NORMAL), draws(dist.Delta(torch.zeros(()))), ("'z'", "point mass", 'start="prior"')),
        (one_latent(dist.Bernoulli(0.5), enumerate="parallel"), lambda x: None, ("no latent", "evaluate")),
        (one_latent(NORMAL), lambda x: None, ("'z'", "guide")),
        (one_latent(NORMAL), draws(Unsupported(0.0, 1.0)), ("'z'", "Unsupported", "support = constraints.real")),
    ],
)
def test_latents_that_cannot_be_moved(model, guide, words, says):
    with says(PairError, *words):
        run(model, guide, {"x": torch.zeros(3)})


def test_an_auxiliary_site(says):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", NORMAL, infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(a, 1.0))

    data = {"x": torch.zeros(3)}
    with says(PairError, "'a'", "auxiliary", 'start="prior"'):
        run(one_latent(NORMAL), guide, data)
    measured = run(one_latent(NORMAL), guide, data, replace(SHORT, start="prior"))
    assert off(measured, dist.Normal(0.0, math.sqrt(2)).log_prob(data["x"])) < 4


def test_a_model_that_does_not_generate(ppca, says):
    with says(PairError, "sandwich", "size", "def model(x=None, *, size=None)"):
        sandwich(lambda x: ppca.model(x), ppca.guide())
    with says(PairError, "size >= 2", "1"):
        sandwich(ppca.model, ppca.guide(), 1)


def test_too_little_to_condition_on(says):
    model = ConditionalVAE(priors.StandardNormal(2), likelihoods.Bernoulli(6), JointMLP([2, 3], 6, (5,)))
    guide = ConditionalGuide(NormalGuide(JointMLP([6, 3], 4, (5,))))
    with says(ShapeError, "10 rows", "'y'", "4"):
        sandwich(model, guide, 10, given={"y": torch.zeros(4, dtype=torch.long)})


def test_a_model_that_observes_another_thing_than_it_was_given(ppca, says):
    def model(x=None, *, size=None):
        return ppca.model(None if x is None else x + 1, size=size)

    with says(PairError, "'x'", "obs=x"):
        sandwich(model, ppca.guide(), 5)
