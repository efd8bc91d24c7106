"""Estimates of log p(x), verified where p(x) and the posterior are exact."""

import math
import resource

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pyrovae.display import plus_minus
from pyrovae.errors import PairError, SettingError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import Estimate, Evaluation, evaluate, log_evidence
from pyrovae.inference.evidence.estimates import Sums
from pyrovae.inference.pair.scoring import LatentTerms, Terms, log_terms
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

# ------------------------------------------------------------------------------- against the exact p(x)


def test_with_the_exact_posterior_every_draw_is_the_evidence(ppca):
    data = ppca.data(50)
    exact = ppca.evidence.log_prob(data["x"])
    measured = evaluate(ppca.model, ppca.guide(), data, num_samples=3)
    for name in ("elbo", "log_evidence"):
        torch.testing.assert_close(measured.per_datum[name], exact, rtol=0, atol=1e-9)
        assert getattr(measured, name).error < 1e-6
    assert measured.elbo.value == pytest.approx(exact.mean().item(), abs=1e-3)


def test_with_the_exact_posterior_in_single_precision(ppca):
    data = ppca.data(50)
    single = type(ppca)()
    for name in ("weight", "loc", "covariance", "regression"):
        setattr(single, name, getattr(ppca, name).float())
    measured = evaluate(single.model, single.guide(), {"x": data["x"].float()}, num_samples=10)
    assert measured.elbo.value == pytest.approx(ppca.evidence.log_prob(data["x"]).mean().item(), abs=1e-3)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(shift=st.floats(-2, 2), stretch=st.floats(0.2, 3), seed=st.integers(0, 2**31))
def test_the_elbo_is_below_the_evidence_by_the_divergence_from_the_posterior(ppca, shift, stretch, seed):
    """log p(x) - ELBO = KL(q || p(z | x)) of two normals, and it is never negative."""
    data = ppca.data(4)
    measured = evaluate(ppca.model, ppca.guide(shift, stretch), data, num_samples=2000, seed=seed)
    q = dist.MultivariateNormal(torch.full((2,), shift).double(), ppca.covariance * stretch**2)
    p = dist.MultivariateNormal(torch.zeros(2).double(), ppca.covariance)
    gap = torch.distributions.kl_divergence(q, p).item()
    exact = ppca.evidence.log_prob(data["x"]).mean().item()
    assert abs(measured.elbo.value - (exact - gap)) <= 5 * measured.elbo.error + 1e-9
    assert measured.elbo.value <= exact + 5 * measured.elbo.error + 1e-9


def test_the_evidence_is_within_its_stated_errors(ppca):
    data = ppca.data(200)
    exact = ppca.evidence.log_prob(data["x"])
    measured = evaluate(ppca.model, ppca.guide(0.1, 1.2), data, num_samples=500)
    off = (measured.per_datum["log_evidence"] - exact) / measured.per_datum["log_evidence_error"]
    assert (off.abs() < 3).double().mean() > 0.97
    assert off.abs().max() < 6
    assert 0.7 < off.std() < 1.3  # the errors are neither too small nor too large
    evidence = measured.log_evidence
    assert abs(evidence.value - exact.mean().item()) < 3 * evidence.error
    assert evidence.error < 0.01
    assert log_evidence(ppca.model, ppca.guide(0.1, 1.2), data, num_samples=500) == evidence


@pytest.mark.parametrize("name", ["elbo", "rate", "distortion"])
def test_the_other_errors_are_honest_too(ppca, name):
    """Over 60 seeds, the spread of an estimate is its stated error."""
    data, guide = ppca.data(3), ppca.guide(0.2, 0.8)
    estimates = [getattr(evaluate(ppca.model, guide, data, num_samples=50, seed=s), name) for s in range(60)]
    spread = torch.tensor([e.value for e in estimates]).std().item()
    assert spread == pytest.approx(sum(e.error for e in estimates) / 60, rel=0.3)


def test_rate_and_distortion_are_the_exact_ones(ppca):
    data = ppca.data(5)
    measured = evaluate(ppca.model, ppca.guide(), data, num_samples=4000)
    mean = ppca.posterior_mean(data["x"])
    q = dist.MultivariateNormal(mean, ppca.covariance)
    p = dist.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    rate = torch.distributions.kl_divergence(q, p)
    assert ((measured.per_datum["rate"] - rate).abs() < 5 * measured.per_datum["rate_error"]).all()
    assert (measured.per_datum["distortion"] > 0).all()


def test_minus_the_elbo_is_rate_plus_distortion(ppca):
    measured = evaluate(ppca.model, ppca.guide(0.5), ppca.data(7), num_samples=11)
    per_datum = measured.per_datum
    torch.testing.assert_close(-per_datum["elbo"], per_datum["rate"] + per_datum["distortion"])
    assert -measured.elbo.value == pytest.approx(measured.rate.value + measured.distortion.value)


@pytest.mark.parametrize("name", ["elbo", "log_evidence"])
def test_errors_shrink_as_one_over_the_root_of_the_samples(ppca, name):
    data, guide = ppca.data(100), ppca.guide(0.1, 1.1)
    few, many = (getattr(evaluate(ppca.model, guide, data, num_samples=s), name).error for s in (100, 1600))
    assert few / many == pytest.approx(4, rel=0.15)


def test_the_effective_sample_size_is_that_of_the_weights(ppca):
    """It is S for the exact posterior, 1 for a single draw, and in between what the draws' weights say."""
    data, guide = ppca.data(5), ppca.guide(0.5, 1.3)
    assert evaluate(ppca.model, ppca.guide(), data, num_samples=30).effective_sample_size == pytest.approx(30)
    assert evaluate(ppca.model, guide, data, num_samples=1).effective_sample_size == pytest.approx(1)
    measured = evaluate(ppca.model, guide, data, num_samples=30)
    error = measured.per_datum["log_evidence_error"]
    expected = (30 / (1 + 29 * error.square())).mean().item()  # by the delta method
    assert measured.effective_sample_size == pytest.approx(expected)


def test_the_bound_tightens_with_more_samples(ppca):
    data, guide = ppca.data(200), ppca.guide(0.3, 1.3)
    bounds = [evaluate(ppca.model, guide, data, num_samples=s).log_evidence.value for s in (1, 4, 64)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(ppca.evidence.log_prob(data["x"]).mean().item(), abs=0.05)


def test_with_one_sample_the_bound_is_the_elbo(ppca):
    measured = evaluate(ppca.model, ppca.guide(0.3), ppca.data(5), num_samples=1)
    torch.testing.assert_close(measured.per_datum["log_evidence"], measured.per_datum["elbo"])


# ------------------------------------------------------------------------------------ chunks, seeds, state


@pytest.mark.parametrize("memory", [1, 2**14, 2**16, 2**40])
def test_chunks_change_the_draws_alone(ppca, memory):
    data, guide = ppca.data(7), ppca.guide(0.2, 1.1)
    exact = ppca.evidence.log_prob(data["x"])
    measured = evaluate(ppca.model, guide, data, num_samples=60, memory=memory)
    off = (measured.per_datum["log_evidence"] - exact) / measured.per_datum["log_evidence_error"]
    assert off.abs().max() < 5
    assert measured.num_samples == 60
    assert all(value.shape == (7,) for value in measured.per_datum.values())


def test_chunks_keep_the_data_in_order(ppca):
    data = ppca.data(23)
    one, many = (evaluate(ppca.model, ppca.guide(), data, num_samples=3, memory=m) for m in (1, 2**30))
    torch.testing.assert_close(one.per_datum["log_evidence"], many.per_datum["log_evidence"])


def test_chunks_bound_what_is_drawn_at_once(ppca):
    shapes = []

    def guide(x):
        z = ppca.guide()(x)
        shapes.append(tuple(z.shape))
        return z

    evaluate(ppca.model, guide, ppca.data(9), num_samples=40, memory=64 * 128 * 10)
    assert max(math.prod(shape[:-1]) for shape in shapes) == 10


def test_a_compiled_evaluation_is_the_eager_one():
    torch.manual_seed(1)
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    options = {"num_samples": 2000, "memory": 64 * 128 * 1000 * 3}
    data = {"x": torch.rand(8, 4).round()}
    eager, compiled = (evaluate(model, guide, data, compile=c, **options) for c in (False, True))
    for name in ("elbo", "log_evidence"):
        one, other = getattr(eager, name), getattr(compiled, name)
        assert abs(one.value - other.value) <= 5 * (one.error + other.error), name
        assert other.error == pytest.approx(one.error, rel=0.3)


def test_the_seed_decides(ppca):
    data, guide = ppca.data(5), ppca.guide(0.3)
    one, same, other = (evaluate(ppca.model, guide, data, num_samples=5, seed=s).elbo for s in (1, 1, 2))
    assert one == same
    assert one != other


class Dropped(nn.Sequential):
    """A network whose output depends on the mode, and which has buffers."""

    in_shape = (3,)

    def __init__(self, inner, outer):
        super().__init__(nn.Linear(inner, outer), nn.Dropout(0.5), nn.BatchNorm1d(outer))

    def forward(self, x):
        return super().forward(x.flatten(0, -2)).unflatten(0, x.shape[:-1])


def test_nothing_is_disturbed():
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(3), Dropped(2, 3))
    guide = NormalGuide(Dropped(3, 4))
    guide.encoder[1].eval()
    modes = [m.training for owner in (model, guide) for m in owner.modules()]
    state = {**model.state_dict(), **{f"g.{k}": v for k, v in guide.state_dict().items()}}
    kept = {name: value.clone() for name, value in state.items()}
    x = torch.randn(8, 3)
    rng = torch.get_rng_state()
    measured = evaluate(model, guide, {"x": x}, num_samples=4)
    assert torch.equal(torch.get_rng_state(), rng)
    assert [m.training for owner in (model, guide) for m in owner.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in kept.items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(value.requires_grad for value in measured.per_datum.values())
    assert not list(pyro.get_param_store())
    assert pyro.settings.get("module_local_params") is False


def test_the_modes_come_back_after_an_error():
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Normal(3), MLP(2, 3)), NormalGuide(MLP(3, 4))
    with pytest.raises(ShapeError):
        evaluate(model, guide, {"x": torch.zeros(3, 4)})
    assert all(m.training for owner in (model, guide) for m in owner.modules())


# ------------------------------------------------------------------------------------ input, output, errors


def test_stored_pixels_are_scaled_by_default():
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    x = torch.randint(0, 2, (6, 4))
    stored = evaluate(model, guide, {"x": (255 * x).to(torch.uint8)}, num_samples=3)
    assert stored.elbo == evaluate(model, guide, {"x": x.float()}, num_samples=3).elbo


def test_a_transform_is_applied_to_each_chunk(ppca):
    data = ppca.data(6)
    halved = {"x": data["x"] / 2}
    measured = evaluate(
        ppca.model, ppca.guide(), halved, num_samples=2, memory=1, transform=lambda b: {"x": 2 * b["x"]}
    )
    torch.testing.assert_close(measured.per_datum["log_evidence"], ppca.evidence.log_prob(data["x"]))


def test_an_empty_set(ppca, says):
    with says(PairError, "empty", "data.test"):
        evaluate(ppca.model, ppca.guide(), {"x": torch.zeros(0, 5)})
    with says(ShapeError, "leading dimension"):
        evaluate(ppca.model, ppca.guide(), {})
    with says(ShapeError, "leading dimension", "'x': 3", "'y': 2"):
        evaluate(ppca.model, ppca.guide(), {"x": torch.zeros(3, 5), "y": torch.zeros(2)})


@pytest.mark.parametrize("num_samples", [0, -1, 1.5, True])
def test_no_samples(ppca, num_samples, says):
    with says(SettingError, "num_samples", "at least 1", str(num_samples), "num_samples=100"):
        evaluate(ppca.model, ppca.guide(), ppca.data(2), num_samples=num_samples)


def test_one_data_point(ppca):
    data = ppca.data(1)
    measured = evaluate(ppca.model, ppca.guide(), data, num_samples=2)
    assert measured.log_evidence.value == pytest.approx(ppca.evidence.log_prob(data["x"]).item())


def test_bits_per_dim():
    estimate = Estimate(-math.log(2) * 10 * 3, 0.1)
    estimates = dict.fromkeys(("elbo", "rate", "distortion", "log_evidence"), estimate)
    measured = Evaluation(**estimates, effective_sample_size=2.0, num_samples=5, dims=10, per_datum={})
    assert measured.bits_per_dim == pytest.approx(3)
    assert estimate.bits_per_dim(10) == pytest.approx((3, 0.01 / math.log(2)))


def test_dims_are_those_of_one_data_point(ppca):
    assert evaluate(ppca.model, ppca.guide(), ppca.data(3), num_samples=1).dims == 5


def test_how_an_evaluation_prints(ppca):
    measured = evaluate(ppca.model, ppca.guide(), ppca.data(3), num_samples=4)
    lines = str(measured).splitlines()
    assert [line.split()[0] for line in lines] == ["elbo", "rate", "distortion", "log_evidence", "num_samples"]
    assert lines[0].split(maxsplit=1)[1] == str(measured.elbo) == plus_minus(*measured.elbo)


@pytest.mark.parametrize("function", [evaluate, log_evidence])
def test_the_progress_bar_counts_chunks(ppca, capsys, function):
    """Two chunks of up to 3 data points with 40 draws each, and the same result without a bar."""
    data, options = ppca.data(5), {"num_samples": 40, "memory": 64 * 128 * 40 * 3}
    plain = function(ppca.model, ppca.guide(0.1), data, **options)
    assert not capsys.readouterr().err
    shown = function(ppca.model, ppca.guide(0.1), data, progress=True, **options)
    assert "2/2" in (err := capsys.readouterr().err)
    assert "chunk" in err
    assert str(plain) == str(shown)


def test_the_progress_bar_says_that_it_compiles(captured_only, capsys):
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    evaluate(model, guide, {"x": torch.rand(5, 4).round()}, compile=True, progress=True)
    assert "compiling" in capsys.readouterr().err


def test_sums_of_chunks_are_the_sums_of_all_draws(ppca):
    terms = [log_terms(ppca.model, ppca.guide(0.2), ppca.data(4), count) for count in (3, 5)]
    both = Terms(
        torch.cat([one.log_likelihood for one in terms]),
        {"z": LatentTerms(*(torch.cat(parts) for parts in zip(*(one.levels["z"] for one in terms), strict=True)))},
    )
    merged, whole = Sums.of(terms[0]).merge(Sums.of(terms[1])), Sums.of(both)
    assert merged.weights.num_samples == whole.weights.num_samples == 8
    for name, part in whole.per_datum().items():
        torch.testing.assert_close(merged.per_datum()[name], part)
    torch.testing.assert_close(whole.per_datum()["elbo"], both.log_weight.mean(0))
    torch.testing.assert_close(whole.per_datum()["elbo_error"], both.log_weight.std(0) / math.sqrt(8))


@pytest.mark.slow
def test_many_chunks_keep_memory_flat():
    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB

    model = VAE(priors.StandardNormal(20), likelihoods.Bernoulli((1, 28, 28)), MLP(20, (1, 28, 28), (50,)))
    guide = NormalGuide(MLP((1, 28, 28), 40, (50,)))
    images = (torch.rand(900, 1, 28, 28) < 0.2).float()
    log_evidence(model, guide, {"x": images[:100]}, compile=True)
    before = peak()
    log_evidence(model, guide, {"x": images}, compile=True)
    assert peak() - before < 200
