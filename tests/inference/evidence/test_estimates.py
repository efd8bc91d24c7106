"""Estimates of log p(x), verified where p(x) and the posterior are exact, and on the layouts a pair may have."""

import math
import resource
from contextlib import nullcontext

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine
from torch import nn

from pyrovae.errors import PairError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import Estimate, Evaluation, evaluate, log_evidence
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.models import VAE, Program, likelihoods, priors
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
    """log p(x) - ELBO = KL(q || p(z | x)), here of two normals, and never negative."""
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
    assert 0.7 < off.std() < 1.3  # the errors are neither boast nor excuse
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


# ------------------------------------------------------------------------------------- layouts of a pair


def test_a_plate_of_covariates(ppca):
    """Five measurements of each datum in a plate at dim -2 make the same p(x) as a vector of five."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            z = z.squeeze(-3) if z.dim() > 2 else z  # (S, 1, B, 2) of vectorised samples
            with pyro.plate("measurements", 5, dim=-2):
                pyro.sample("x", dist.Normal(ppca.decode(z).mT, ppca.scale), obs=x.T)

    data = ppca.data(8)
    measured = evaluate(model, ppca.guide(), data, num_samples=4)
    torch.testing.assert_close(measured.per_datum["log_evidence"], ppca.evidence.log_prob(data["x"]))


class Regression(Program):
    """y = z + b + noise, with a global latent b outside the data plate, which is subsampled."""

    def forward(self, x=None, *, size=None, data_size=None):
        rows = len(x) if size is None else size
        bias = pyro.sample("bias", dist.Normal(0.0, 2.0))
        with pyro.plate("data", data_size or rows, subsample_size=rows, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            return pyro.sample("x", dist.Normal(z + bias, 0.5), obs=x)


def regression_guide(x, data_size=None):
    pyro.sample("bias", dist.Normal(0.3, 0.4))
    with pyro.plate("data", data_size or len(x), subsample_size=len(x), dim=-1):
        pyro.sample("z", dist.Normal(0.5 * x, 0.6))


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 40])
def test_a_global_latent_is_shared_out_over_the_data(memory):
    """The ELBO of all data, over their number, by hand: one KL for the bias, one term for each datum."""
    x = torch.randn(60)
    measured = evaluate(Regression(), regression_guide, {"x": x}, num_samples=400, memory=memory)
    kl = torch.distributions.kl_divergence
    bias, z, unit = dist.Normal(0.3, 0.4), dist.Normal(0.5 * x, 0.6), dist.Normal(0.0, 1.0)
    rate = kl(bias, dist.Normal(0.0, 2.0)) / 60 + kl(z, unit).mean()
    squares = (x - 0.5 * x - 0.3).square() + 0.4**2 + 0.6**2
    distortion = (squares / (2 * 0.5**2) + math.log(0.5) + math.log(2 * math.pi) / 2).mean()
    for name, exact in (("rate", rate), ("distortion", distortion), ("elbo", -rate - distortion)):
        assert getattr(measured, name).value == pytest.approx(exact.item(), abs=0.05), name
    assert math.isnan(measured.log_evidence.value)


def test_the_evidence_of_one_datum_does_not_exist_with_a_global_latent(says):
    with says(PairError, "outside the plate 'data'", "pyro.condition"):
        log_evidence(Regression(), regression_guide, {"x": torch.randn(5)}, num_samples=3)


def test_a_scale_in_the_model_is_the_objectives_matter(ppca):
    data = ppca.data(6)
    scaled = evaluate(poutine.scale(ppca.model, 7.0), poutine.scale(ppca.guide(), 7.0), data, num_samples=3)
    torch.testing.assert_close(scaled.per_datum["log_evidence"], ppca.evidence.log_prob(data["x"]))


def test_a_mask_takes_its_entries_out(ppca):
    data = ppca.data(6)
    seen = torch.tensor([True, True, False, True, False, False])

    def model(x):
        with poutine.mask(mask=seen[: len(x)]):
            return ppca.model(x)

    def guide(x):
        with poutine.mask(mask=seen[: len(x)]):
            return ppca.guide()(x)

    measured = evaluate(model, guide, data, num_samples=3)
    expected = torch.where(seen, ppca.evidence.log_prob(data["x"]), 0.0)
    torch.testing.assert_close(measured.per_datum["log_evidence"], expected)


def test_a_batch_of_several_tensors(ppca):
    """A program gets the tensors that it names, and no other."""

    def model(x, y):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z * y.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, 0.7).to_event(1))

    x, y = torch.randn(5, 1), torch.rand(5)
    measured = evaluate(model, guide, {"x": x, "y": y, "unused": torch.zeros(5)}, num_samples=20_000)
    exact = dist.Normal(0.0, (1 + y**2).sqrt()).log_prob(x.squeeze(-1))
    torch.testing.assert_close(measured.per_datum["log_evidence"].float(), exact, rtol=0, atol=0.05)


def test_the_shape_of_the_terms(ppca):
    terms = log_terms(ppca.model, ppca.guide(), ppca.data(4), 3)
    level = terms.levels["z"]
    parts = (terms.log_likelihood, *level, level.rate, terms.log_prior, terms.log_guide)
    assert all(term.shape == (3, 4) for term in parts)
    torch.testing.assert_close(terms.log_weight, terms.log_likelihood + terms.log_prior - terms.log_guide)


# ------------------------------------------------------------------- levels, and latents that are summed out


def test_the_rate_of_each_level():
    """Of independent normals z1, z2 each rate is a closed form, and their sum is the rate."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z2 = pyro.sample("z2", dist.Normal(0.0, 1.0))
            z1 = pyro.sample("z1", dist.Normal(z2, 1.0))
            pyro.sample("x", dist.Normal(z1, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            z2 = pyro.sample("z2", dist.Normal(0.5 * x, 0.6))
            pyro.sample("z1", dist.Normal(z2 + 0.3, 0.7))

    x = torch.randn(40)
    measured = evaluate(model, guide, {"x": x}, num_samples=2000)
    kl = torch.distributions.kl_divergence
    exact = {
        "z2": kl(dist.Normal(0.5 * x, 0.6), dist.Normal(0.0, 1.0)).mean().item(),
        "z1": kl(dist.Normal(0.3, 0.7), dist.Normal(0.0, 1.0)).item(),
    }
    assert set(measured.rates) == set(exact)
    for name, value in exact.items():
        assert abs(measured.rates[name].value - value) < 5 * measured.rates[name].error
        assert measured.per_datum[f"rate_{name}"].shape == (40,)
    assert measured.rate.value == pytest.approx(sum(rate.value for rate in measured.rates.values()), rel=1e-5)
    assert [line.split()[:2] for line in str(measured).splitlines()[4:6]] == [["rate", "z2"], ["rate", "z1"]]


PROBS, CENTRES = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([-1.0, 0.4, 2.0]).double()


def test_an_enumerated_latent_alone_is_summed_out_exactly():
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            c = pyro.sample("c", dist.Categorical(PROBS), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(CENTRES[c], 0.7), obs=x)

    def guide(x):
        pass

    x = torch.randn(9).double()
    exact = (dist.Normal(CENTRES, 0.7).log_prob(x.unsqueeze(-1)) + PROBS.log()).logsumexp(-1)
    measured = evaluate(model, guide, {"x": x}, num_samples=3)
    torch.testing.assert_close(measured.per_datum["log_evidence"], exact)
    assert measured.rate.value == 0


def test_an_enumerated_latent_above_and_below_drawn_ones():
    """c decides the prior of z, d the offset of x: the prior of z is a mixture, and so is x given z."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            c = pyro.sample("c", dist.Categorical(PROBS), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(CENTRES[c], 0.5))
            d = pyro.sample("d", dist.Bernoulli(0.3 * torch.ones(()).double()), infer={"enumerate": "parallel"})
            with pyro.plate("measurements", 2, dim=-2):
                pyro.sample("x", dist.Normal(z + d + 0.1 * c, 0.7), obs=x.T)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.mean(-1), 0.6))

    x = torch.randn(4, 2).double()
    torch.manual_seed(1)
    pair = log_terms(model, guide, {"x": x}, 5, depth=2)
    torch.manual_seed(1)
    z = dist.Normal(x.mean(-1), 0.6).expand([5, 1, 4]).sample().squeeze(1)
    prior = (dist.Normal(CENTRES, 0.5).log_prob(z.unsqueeze(-1)) + PROBS.log()).logsumexp(-1)
    joint = []
    for c in range(3):
        for d in range(2):
            loc = z + d + 0.1 * c
            log_likelihood = dist.Normal(loc, 0.7).log_prob(x.T.unsqueeze(1)).sum(0)
            weight = PROBS[c].log() + math.log(0.3 if d else 0.7)
            joint.append(dist.Normal(CENTRES[c], 0.5).log_prob(z) + log_likelihood + weight)
    joint = torch.stack(joint).logsumexp(0)
    torch.testing.assert_close(pair.log_prior, prior)
    torch.testing.assert_close(pair.log_likelihood, joint - prior)
    torch.testing.assert_close(pair.log_guide, dist.Normal(x.mean(-1), 0.6).log_prob(z))


def test_a_guides_enumerated_latent_is_drawn():
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            c = pyro.sample("c", dist.Categorical(PROBS))
            pyro.sample("x", dist.Normal(CENTRES[c], 0.7), obs=x)

    def guide(x):
        logits = dist.Normal(CENTRES, 0.7).log_prob(x.unsqueeze(-1)) + PROBS.log()
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("c", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})

    x = torch.randn(9).double()
    exact = (dist.Normal(CENTRES, 0.7).log_prob(x.unsqueeze(-1)) + PROBS.log()).logsumexp(-1)
    torch.testing.assert_close(evaluate(model, guide, {"x": x}, num_samples=3).per_datum["log_evidence"], exact)


def undrawn(fn, infer, plate):
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            with pyro.plate("inner", 2, dim=-2) if plate else nullcontext():
                c = pyro.sample("c", fn, infer=infer)
            pyro.sample("x", dist.Normal(c.sum(-2) if plate else c, 1.0), obs=x)

    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (undrawn(dist.Normal(0.0, 1.0), {}, False), ("'c'", "enumerate", "guide")),
        (undrawn(dist.Poisson(2.0), {"enumerate": "parallel"}, False), ("'c'", "Poisson", "finite support")),
        (undrawn(dist.Bernoulli(0.5), {"enumerate": "parallel"}, True), ("'c'", "inner", "TraceEnum_ELBO")),
    ],
)
def test_latents_that_cannot_be_summed_out(model, words, says):
    with says(PairError, *words):
        evaluate(model, lambda x: None, {"x": torch.zeros(3)}, num_samples=2)


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
    with says(PairError, "empty", "data.train"):
        evaluate(ppca.model, ppca.guide(), {"x": torch.zeros(0, 5)})
    with says(ShapeError, "leading dimension"):
        evaluate(ppca.model, ppca.guide(), {})
    with says(ShapeError, "leading dimension", "'x': 3", "'y': 2"):
        evaluate(ppca.model, ppca.guide(), {"x": torch.zeros(3, 5), "y": torch.zeros(2)})


@pytest.mark.parametrize("num_samples", [0, -1])
def test_no_samples(ppca, num_samples, says):
    with says(PairError, "num_samples"):
        evaluate(ppca.model, ppca.guide(), ppca.data(2), num_samples=num_samples)


def test_one_datum(ppca):
    data = ppca.data(1)
    measured = evaluate(ppca.model, ppca.guide(), data, num_samples=2)
    assert measured.log_evidence.value == pytest.approx(ppca.evidence.log_prob(data["x"]).item())


def test_bits_per_dim():
    estimate = Estimate(-math.log(2) * 10 * 3, 0.1)
    measured = Evaluation(estimate, estimate, estimate, estimate, num_samples=5, dims=10, per_datum={})
    assert measured.bits_per_dim == pytest.approx(3)
    assert estimate.bits_per_dim(10) == pytest.approx((3, 0.01 / math.log(2)))


def test_dims_are_those_of_one_datum(ppca):
    assert evaluate(ppca.model, ppca.guide(), ppca.data(3), num_samples=1).dims == 5


def test_how_an_evaluation_prints(ppca):
    measured = evaluate(ppca.model, ppca.guide(), ppca.data(3), num_samples=4)
    lines = str(measured).splitlines()
    assert [line.split()[0] for line in lines] == ["elbo", "rate", "distortion", "log_evidence", "num_samples"]
    assert lines[0].split(maxsplit=1)[1] == str(measured.elbo) == f"{measured.elbo.value:.2f} ± 0.00"


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


def test_a_site_that_counts_dimensions_from_the_left(says):
    """It is right for one draw, and with more it would mix draws and data."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("parts", 3, dim=-2):
                pyro.sample("x", dist.Normal(torch.ones(3, 1) * z.unsqueeze(-2), 1.0), obs=x.T)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.mean(-1), 1.0))

    x = torch.randn(4, 3)
    assert evaluate(model, guide, {"x": x}, num_samples=1).elbo.value < 0
    with says(ShapeError, "'x'", "in a run of 5 draws", "unsqueeze"):
        evaluate(model, guide, {"x": x}, num_samples=5)
