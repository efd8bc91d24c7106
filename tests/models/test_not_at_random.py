"""Data missing not at random: the evidence of x and its mask, against quadrature and enumeration."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae import data
from pyrovae.errors import PairError, SettingError, ShapeError
from pyrovae.guides import Completed, NormalGuide, ZeroFilled
from pyrovae.inference import IWAE, diagnose, evaluate, imputations, impute, posterior, prior
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.models import VAE, Masked, Mechanism, NotAtRandom, SelfMasking, likelihoods, priors
from pyrovae.networks.dense import MLP

SLOPE = torch.tensor([3.0, 0.0, -2.0], dtype=torch.float64)
OFFSET = torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64)
MEAN, SCALE = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64), 0.8


def known_model(x=None, *, size=None):
    """One latent that shifts three normal columns."""
    with pyro.plate("data", len(x) if size is None else size, dim=-1):
        z = pyro.sample("z", dist.Normal(MEAN.new_zeros(1), 1.0).to_event(1))
        return pyro.sample("x", dist.Normal(MEAN + z, SCALE).to_event(1), obs=x)


def prior_guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(MEAN.new_zeros(1), 1.0).to_event(1))


@pytest.fixture
def known():
    """A pair whose guide is the prior, and data."""
    mechanism = SelfMasking(3).double()
    mechanism.offset.data.copy_(OFFSET)
    mechanism.raw_slope.data.copy_(SLOPE)
    model = NotAtRandom(known_model, mechanism)
    x = torch.randn(6, 3, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1], [0, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0]]).bool()
    return model, Completed(ZeroFilled(prior_guide), model), data.incomplete(x, mask)


def by_quadrature(batch, offset=OFFSET, slope=SLOPE):
    """log p(x_observed, mask), and E[x | x_observed, mask], by sums over fine grids of z and of each entry."""
    z = torch.linspace(-7, 7, 351, dtype=torch.float64)
    u = torch.linspace(-8, 8, 401, dtype=torch.float64)
    entry = (MEAN + z[:, None] + SCALE * u[:, None, None]).movedim(0, 1)  # (Z, U, D)
    weight = torch.softmax(-u.square() / 2, 0)[:, None]
    hidden = torch.sigmoid(slope * entry - offset) * weight
    share, mean = hidden.sum(1), (hidden * entry).sum(1)  # (Z, D)
    evidence, means = [], []
    for x, mask in zip(batch["x"], batch["mask"], strict=True):
        seen = dist.Normal(MEAN + z[:, None], SCALE).log_prob(x).exp() * torch.sigmoid(offset - slope * x)
        joint = torch.where(mask, seen, share).prod(-1) * torch.softmax(-z.square() / 2, 0)
        evidence.append(joint.sum().log())
        means.append(torch.where(mask, x, (joint[:, None] * mean / share).sum(0) / joint.sum()))
    return torch.stack(evidence), torch.stack(means)


def test_the_evidence_is_that_of_x_and_mask(known):
    model, guide, batch = known
    exact, _ = by_quadrature(batch)
    found = evaluate(model, guide, batch, num_samples=20_000).per_datum
    assert ((found["log_evidence"] - exact).abs() < 4 * found["log_evidence_error"] + 1e-9).all()
    assert found["log_evidence_error"].max() < 0.05


def test_the_imputed_mean_is_that_under_the_mechanism(known):
    model, guide, batch = known
    _, exact = by_quadrature(batch)
    found = impute(model, guide, batch, num_samples=20_000)
    missing = ~batch["mask"]
    score = ((found.x - exact) / found.error)[missing]
    assert score.abs().max() < 4
    assert found.error[missing].max() < 0.05
    assert torch.equal(found.x[~missing], batch["x"][~missing])
    ignoring = impute(Masked(known_model), ZeroFilled(prior_guide), batch, num_samples=20_000)
    assert (ignoring.x - exact)[missing].abs().max() > 0.3  # what hides an entry tells of its value
    draws = imputations(model, guide, batch, 2000, num_samples=4000)
    torch.testing.assert_close(draws.mean(0), exact, rtol=0, atol=0.15)


def test_without_gaps_it_is_the_model_and_the_mask(known):
    model, guide, batch = known
    whole = {"x": batch["x"], "mask": torch.ones_like(batch["mask"])}
    likelihood = log_terms(model, guide, whole, 3).log_likelihood
    torch.manual_seed(0)
    terms = log_terms(model, guide, {"x": batch["x"]}, 3)
    masks = torch.sigmoid(OFFSET - SLOPE * batch["x"]).log().sum(-1)
    alone = log_terms(known_model, prior_guide, {"x": batch["x"]}, 40_000)
    exact = alone.log_weight.logsumexp(0) - math.log(40_000) + masks
    torch.testing.assert_close(by_quadrature(whole)[0], exact, rtol=0, atol=0.05)
    assert likelihood.shape == terms.log_likelihood.shape == (3, 6)
    assert (terms.levels["x_missing"].rate == 0).all()


def test_generation_is_the_joint_of_inference(known):
    """x_missing is the hidden part of x, and elsewhere independent of x given z; imputed means are right on average."""
    model, guide, _ = known
    with torch.no_grad():
        trace = pyro.poutine.trace(model).get_trace(size=4000)
    z, x, mask, missing = (trace.nodes[name]["value"] for name in ("z", "x", "mask", "x_missing"))
    hidden = mask == 0
    assert torch.equal(missing[hidden], x[hidden])
    scored = (mask - torch.sigmoid(OFFSET - SLOPE * x)) * torch.stack([torch.ones_like(x), x])
    assert (scored.mean(1).abs() < 4 * scored.std(1) / 4000**0.5).all()
    product = ((missing - MEAN - z) * (x - MEAN - z))[~hidden]
    assert product.mean().abs() < 4 * product.std() / len(product) ** 0.5
    found = impute(model, guide, data.incomplete(x[:1000], ~hidden[:1000]), num_samples=1000)
    for column in range(3):
        error = (found.x - x[:1000])[hidden[:1000, column], column]
        assert error.mean().abs() < 4 * error.std() / len(error) ** 0.5


def test_a_mechanism_that_ignores_x_changes_nothing(known):
    """p(mask) is then a constant: the posterior of what is missing is that of MIWAE."""
    model, guide, batch = known
    model.mechanism.raw_slope.data.zero_()
    ignoring = evaluate(Masked(known_model), ZeroFilled(prior_guide), batch, num_samples=5000).per_datum["log_evidence"]
    found = evaluate(model, guide, batch, num_samples=5000).per_datum["log_evidence"]
    masks = dist.Bernoulli(logits=OFFSET).log_prob(batch["mask"].double()).sum(-1)
    torch.testing.assert_close(found, ignoring + masks, rtol=0, atol=0.1)


def test_categories_are_enumerated():
    """Two binary columns, of which the first hides itself: the evidence is a sum over its values."""
    logit = torch.tensor([0.4, -0.7])

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            return pyro.sample("x", dist.Bernoulli(logits=logit + 0 * z).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))

    mechanism = SelfMasking(2, "large")
    whole = NotAtRandom(model, mechanism)
    batch = data.incomplete(torch.tensor([[math.nan, 1.0]]))
    found = evaluate(whole, Completed(ZeroFilled(guide), whole), batch, num_samples=20_000).log_evidence
    first = [math.log(p) for p in (0.5, torch.sigmoid(torch.tensor(math.log(2.0))).item())]  # slope is softplus(0)
    share = torch.sigmoid(logit[0]).item()
    hidden = (1 - share) * math.exp(first[0]) + share * math.exp(first[1])
    second = torch.sigmoid(logit[1]).item() * torch.sigmoid(torch.tensor(-math.log(2.0))).item()
    assert found.value == pytest.approx(math.log(hidden * second), abs=0.01)


def vae(mechanism, hides=5):
    latent = VAE(priors.StandardNormal(2), likelihoods.Normal(hides, "predicted"), MLP(2, 2 * hides, (7,)))
    model = NotAtRandom(latent, mechanism)
    guide = Completed(ZeroFilled(NormalGuide(MLP(2 * hides, 4, (7,))), mask=True), model)
    x = torch.randn(30, hides)
    return model, guide, data.incomplete(x, data.mnar(x, 0.4))


def test_the_gradient_is_that_of_the_evidence(known):
    """The gradient of the mechanism by IWAE with many draws, against that of the quadrature."""
    model, guide, batch = known
    parameters = list(model.mechanism.parameters())
    torch.manual_seed(0)
    bound = IWAE(20_000).differentiable_loss(lambda: model(**batch), lambda: guide(**batch))
    found = torch.autograd.grad(-bound, parameters)
    exact = torch.autograd.grad(by_quadrature(batch, *parameters)[0].sum(), parameters)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.1)


def test_the_tools_work():
    model, guide, batch = vae(SelfMasking(5, "small"))
    found = diagnose(model, guide, batch, num_samples=30)
    rows = {verdict.name: verdict for verdict in found.verdicts}
    assert rows["rate of x_missing"].good
    assert "model's own" in rows["rate of x_missing"].verdict
    assert "active in x_missing" not in rows
    assert posterior(model, guide, batch, 4).latents["x_missing"].shape == (4, 30, 5)
    assert prior(model, 3).latents["x_missing"].shape == (3, 1, 5)


def test_a_sign_that_is_known_is_kept():
    large, small = SelfMasking((2, 3), "large"), SelfMasking(4, "small")
    assert (large.slope > 0).all()
    assert (small.slope < 0).all()
    assert (SelfMasking(4).slope == 0).all()
    mask = torch.tensor([[1, 0], [1, 0], [1, 1]]).bool()
    shares = SelfMasking(2).start(mask)(torch.randn(3, 2)).base_dist.probs[0]
    torch.testing.assert_close(shares, torch.tensor([3.5 / 4, 1.5 / 4]))
    assert "hides='large'" in repr(large)


@pytest.mark.parametrize(("hides", "sign"), [("large", 1), ("small", -1)])
def test_a_threshold_is_at_the_last_observed_value(hides, sign):
    x = sign * torch.tensor([[1.0, 7.0, 4.0], [3.0, 7.0, 4.0], [math.nan, 7.0, 4.0]])
    mask = torch.tensor([[1, 0, 1], [1, 0, 1], [0, 0, 1]]).bool()
    mechanism = SelfMasking(3, hides).start_at_threshold(x, mask)
    assert (sign * mechanism.slope > 0).all()
    at = sign * torch.tensor([[3.0, 0.0, 4.0], [2.0, -1.0, 3.0], [4.0, 1.0, 5.0]])  # the spreads are 1, none, and 0
    exact = torch.sigmoid(torch.tensor([[0.0], [6.0], [-6.0]])).expand(3, 3)
    torch.testing.assert_close(mechanism(at).base_dist.probs, exact)


def test_it_says_what_is_wrong(says):
    with says(SettingError, "hides='large'", "'up'"):
        SelfMasking(3, "up")
    with says(SettingError, "requires a sign", "hides='large'"):
        SelfMasking(3).start_at_threshold(torch.zeros(2, 3), torch.ones(2, 3).bool())
    model, _, batch = vae(SelfMasking(5))
    with says(ShapeError, "(30, 5)", "(30, 1)", "each entry of the mask"):
        model(batch["x"], batch["mask"][:, :1])
    with says(ShapeError, "(30, 5)", "(30, 4)"):
        NotAtRandom(model.model, Mechanism(MLP(5, 4, (3,))))(**batch)

    def nothing(x):
        pass

    with says(PairError, "each latent of the model", "'z'"):
        Completed(ZeroFilled(nothing), model)(**batch)
