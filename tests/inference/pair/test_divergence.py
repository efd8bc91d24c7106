"""Marginals and closed forms of KL(q || p), against sums over grids and means over draws."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.inference.pair.divergence import closed_kl, in_both_orders, marginals, masked
from pyrovae.inference.pair.tracing import PairTrace, sites, trace_pair
from pyrovae.models.distributions.mixture import DiagonalMixture

GRID = torch.linspace(-12, 12, 4001).double()
STEP = GRID[1] - GRID[0]
CORRELATED = torch.tensor([[1.5, 0.0], [-0.7, 0.4]]).double()
LOC = torch.tensor([0.5, -1.0]).double()


def mixture():
    return torch.randn(3).double(), torch.randn(3, 2).double(), torch.rand(3, 2).double() + 0.3


def joints():
    """Distributions of two dimensions, batch shape `()`."""
    logits, loc, scale = mixture()
    return {
        "independent": dist.Laplace(LOC, LOC.exp()).to_event(1),
        "full": dist.MultivariateNormal(LOC, scale_tril=CORRELATED),
        "low-rank": dist.LowRankMultivariateNormal(LOC, CORRELATED[:, :1], LOC.exp()),
        "mixture": dist.MixtureOfDiagNormals(loc, scale, logits),
        "diagonal mixture": DiagonalMixture(loc, scale, logits),
    }


@pytest.mark.parametrize("name", joints())
def test_marginals_are_the_joint_density_summed_over_the_other_dimension(name):
    joint = joints()[name]
    single = marginals(joint)
    assert single.batch_shape == (2,)
    assert single.event_shape == ()
    points = torch.stack(torch.meshgrid(GRID[::10], GRID[::10], indexing="ij"), -1)
    density = joint.log_prob(points).exp()
    for dim in range(2):
        direct = density.sum(1 - dim) * 10 * STEP
        found = single.log_prob(GRID[::10].unsqueeze(-1).expand(-1, 2)).exp()[:, dim]
        torch.testing.assert_close(found, direct, rtol=0, atol=5e-3)


def test_marginals_have_the_batch_shape_of_the_joint():
    loc, scale, logits = torch.randn(4, 3, 2), torch.rand(4, 3, 2), torch.randn(4, 3)
    assert marginals(dist.MixtureOfDiagNormals(loc, scale, logits)).batch_shape == (4, 2)
    assert marginals(dist.Normal(torch.zeros(4, 2, 3), 1.0).to_event(2)).batch_shape == (4, 2, 3)
    single = dist.Normal(torch.zeros(4), 1.0)
    assert marginals(single) is single


def test_a_flow_has_no_marginals():
    base = dist.Normal(torch.zeros(2), 1.0).to_event(1)
    rotation = dist.transforms.LowerCholeskyAffine(torch.zeros(2), torch.eye(2))
    assert marginals(dist.TransformedDistribution(base, [rotation])) is None


PAIRS = [
    (dist.Normal(0.3, 0.7), dist.Normal(0.0, 1.0)),
    (dist.Laplace(0.3, 0.7), dist.Normal(0.0, 1.0)),
    (dist.Laplace(0.3, 0.7), dist.Laplace(0.0, 1.0)),
]


@pytest.mark.parametrize(("q", "p"), PAIRS)
def test_closed_forms_are_the_integral(q, p):
    found = closed_kl(q, p)
    log_q, log_p = q.log_prob(GRID), p.log_prob(GRID)
    assert found.item() == pytest.approx((log_q.exp() * (log_q - log_p)).sum().item() * STEP.item(), abs=1e-4)


def test_a_closed_form_is_the_mean_over_draws():
    q, p = dist.MultivariateNormal(LOC, scale_tril=CORRELATED), dist.MultivariateNormal(0 * LOC, torch.eye(2).double())
    z = q.sample((100_000,))
    rates = q.log_prob(z) - p.log_prob(z)
    assert closed_kl(q, p).item() == pytest.approx(rates.mean().item(), abs=4 * rates.std().item() / 300)


def test_no_closed_form():
    logits, loc, scale = mixture()
    assert closed_kl(dist.Normal(LOC, 1.0).to_event(1), DiagonalMixture(loc, scale, logits)) is None


# ---------------------------------------------------------------------------------------------- masks, orders


@pytest.mark.parametrize("mask", [None, True, False, torch.tensor([True, False, True, True])])
def test_a_masked_rate_is_zero(mask):
    with poutine.trace() as tracer, poutine.mask(mask=True if mask is None else mask), pyro.plate("data", 4, dim=-1):
        pyro.sample("z", dist.Normal(torch.zeros(2, 3), 1.0).to_event(2))
    rate = torch.rand(4, 2, 3)
    site = sites(tracer.trace)["z"]
    if mask is None:
        site["mask"] = None
    seen = torch.ones(4) if mask is None else torch.as_tensor(mask).expand(4).float()
    assert torch.equal(masked(rate, site), rate * seen[:, None, None])


def chain(*names):
    """Latents in that order, each with the sum of those before as its mean."""

    def program(x=None):
        with pyro.plate("data", 4, dim=-1):
            total = torch.zeros(())
            for name in names:
                total = total + pyro.sample(name, dist.Normal(total, 1.0))

    return program


@pytest.mark.parametrize(
    ("model", "guide", "found"),
    [
        (("a", "b", "c"), ("a", "b", "c"), ["a", "b", "c"]),
        (("a", "b", "c"), ("c", "b", "a"), ["a"]),
        (("a", "b", "c"), ("b", "a", "c"), ["a", "c"]),
    ],
)
def test_latents_in_both_orders(model, guide, found):
    assert in_both_orders(trace_pair(chain(*model), chain(*guide), {})) == found


def test_a_prior_that_depends_on_an_enumerated_latent():
    def model():
        with pyro.plate("data", 4, dim=-1):
            k = pyro.sample("k", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
            pyro.sample("a", dist.Normal(0.0, 1.0))
            pyro.sample("b", dist.Normal(k, 1.0))

    with poutine.trace() as inner:
        chain("a", "b")()
    with poutine.trace() as outer, poutine.replay(trace=inner.trace), poutine.enum(first_available_dim=-2):
        model()
    assert in_both_orders(PairTrace(inner.trace, outer.trace)) == ["a"]


def test_over_the_latents_in_both_orders_closed_forms_have_the_mean_of_the_rates():
    """E[KL(q(b | a) || p(b | a))] over draws of a is the mean of log q - log p."""

    def guide(x=None):
        with pyro.plate("data", 100_000, dim=-1):
            a = pyro.sample("a", dist.Normal(0.5, 1.3))
            pyro.sample("b", dist.Normal(0.2 * a, 0.6))

    def model(x=None):
        with pyro.plate("data", 100_000, dim=-1):
            a = pyro.sample("a", dist.Normal(0.0, 1.0))
            pyro.sample("b", dist.Normal(a, 1.0))

    pair = trace_pair(model, guide, {})
    for name in in_both_orders(pair):
        inner, outer = pair.latent()[name]
        drawn = inner["fn"].log_prob(inner["value"]) - outer["fn"].log_prob(outer["value"])
        closed = closed_kl(inner["fn"], outer["fn"])
        assert closed.mean().item() == pytest.approx(drawn.mean().item(), abs=4 * drawn.std().item() / 300)
