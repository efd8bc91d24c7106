"""Models of incomplete data: the observed entries alone are scored."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae import data
from pyrovae.errors import NonFiniteError, PairError, ShapeError
from pyrovae.guides import NormalGuide, ZeroFilled
from pyrovae.inference import check_pair, evaluate
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.models import VAE, Masked, likelihoods, priors
from pyrovae.networks.dense import MLP

SHAPE = (6,)
LIKELIHOODS = {
    "bernoulli": lambda: likelihoods.Bernoulli(SHAPE),
    "continuous-bernoulli": lambda: likelihoods.ContinuousBernoulli(SHAPE),
    "normal": lambda: likelihoods.Normal(SHAPE, "predicted"),
    "log-normal": lambda: likelihoods.LogNormal(SHAPE),
    "student-t": lambda: likelihoods.StudentT(SHAPE),
    "poisson": lambda: likelihoods.Poisson(SHAPE),
    "negative-binomial": lambda: likelihoods.NegativeBinomial(SHAPE),
    "categorical": lambda: likelihoods.Categorical(SHAPE, 3),
    "ordinal": lambda: likelihoods.Ordinal(SHAPE, 3),
    "discretized-logistic": lambda: likelihoods.DiscretizedLogistic(SHAPE),
    "mixture": lambda: likelihoods.DiscretizedLogisticMixture(SHAPE, 2),
    "columns": lambda: likelihoods.Heterogeneous(
        {"a": likelihoods.LogNormal(2), "b": likelihoods.Categorical(1, 3), "c": likelihoods.Normal(3)}
    ),
}


@pytest.fixture(params=LIKELIHOODS.values(), ids=LIKELIHOODS)
def likelihood(request):
    return request.param()


def pair(likelihood):
    shape = likelihood.event_shape
    decoder = MLP(2, likelihood.params_shape, (5,))
    model = Masked(VAE(priors.StandardNormal(2), likelihood, decoder))
    return model, ZeroFilled(NormalGuide(MLP(2 * shape[0], 4, (5,))), mask=True)


def test_observed_entries_alone_are_scored(likelihood):
    """log p(x | z) is the sum over observed entries, and values of the others change neither it nor a gradient."""
    model, guide = pair(likelihood)
    x = likelihood(torch.randn(5, *likelihood.params_shape)).sample()
    mask = data.mcar(x, 0.5, seed=1)
    mask[0], mask[1] = False, True
    batch = data.incomplete(x, mask)
    check_pair(model, guide, batch)

    def run(**batch):
        torch.manual_seed(0)
        terms = log_terms(model, guide, batch, 3)
        parameters = [*model.parameters(), *guide.parameters()]
        return terms.log_likelihood, torch.autograd.grad(terms.log_weight.sum(), parameters)

    scored, gradients = run(**batch)
    hidden, others = run(x=torch.where(mask, x, math.nan), mask=mask)
    torch.testing.assert_close(scored, hidden, rtol=0, atol=0)
    assert all(g.isfinite().all() and torch.equal(g, other) for g, other in zip(gradients, others, strict=True))
    assert (scored[:, 0] == 0).all()
    whole, _ = run(x=x, mask=torch.ones_like(mask))
    torch.testing.assert_close(scored[:, 1], whole[:, 1])

    each = []  # one entry at a time, with the same draws of z
    with pyro.poutine.trace() as drawn, pyro.plate("samples", 3, dim=-2):
        torch.manual_seed(0)
        guide(**batch)
    for entry in range(x.shape[1]):
        alone = torch.zeros_like(mask)
        alone[:, entry] = mask[:, entry]
        with pyro.poutine.trace() as trace, pyro.poutine.replay(trace=drawn.trace), pyro.plate("samples", 3, dim=-2):
            model(x, alone)
        site = trace.trace.nodes["x"]
        each.append(site["fn"].log_prob(site["value"]))
    torch.testing.assert_close(sum(each), scored, rtol=1e-4, atol=1e-4)


def test_without_a_mask_it_is_the_model():
    model, guide = pair(likelihoods.Normal(4))
    x = torch.randn(5, 4)
    whole = {"x": x, "mask": torch.ones_like(x, dtype=torch.bool)}
    assert evaluate(model, guide, {"x": x}).elbo == evaluate(model, guide, whole).elbo
    assert evaluate(model.model, guide, {"x": x}).elbo.value == pytest.approx(evaluate(model, guide, whole).elbo.value)
    assert model(size=3).shape == (3, 4)
    assert model.likelihood is model.model.likelihood


def test_a_batch_may_hold_what_the_model_does_not_take():
    model, guide = pair(likelihoods.Normal(4))
    batch = data.incomplete(torch.randn(5, 4)) | {"y": torch.arange(5)}
    assert math.isfinite(evaluate(model, guide, batch).elbo.value)


def test_it_says_what_is_wrong(says):
    model, guide = pair(likelihoods.Normal(4))
    x = torch.randn(5, 4)
    with says(ShapeError, "(5, 3)", "(5, 4)", "isnan"):
        model(x, torch.ones(5, 3))
    with says(NonFiniteError, "'x'", "1 NaN"):
        check_pair(model, guide, {"x": torch.where(torch.arange(4) == 2, math.nan, x)[:1], "mask": torch.ones(1, 4)})

    def correlated(x=None, *, size=None):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.MultivariateNormal(torch.zeros(4), torch.eye(4)), obs=x)

    with says(PairError, "MultivariateNormal", "one by one"):
        Masked(correlated)(x, torch.ones(5, 4))
