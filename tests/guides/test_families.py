"""The guides of one latent vector: their densities, their draws, and what the diagonal one misses."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.errors import ShapeError
from pyrovae.guides import FlowGuide, FullNormalGuide, LowRankNormalGuide, MixtureGuide, NormalGuide
from pyrovae.inference import SVI, Annealing, annealed, evaluate
from pyrovae.inference.pair.tracing import trace_pair
from pyrovae.networks.dense import MLP

FAMILIES = {  # the guide of a 2-dimensional latent, and how many parameters it takes
    "normal": (NormalGuide, 4),
    "full": (FullNormalGuide, 5),
    "low-rank": (lambda encoder: LowRankNormalGuide(encoder, 1), 6),
    "mixture": (lambda encoder: MixtureGuide(encoder, 3), 15),
    "flow": (lambda encoder: FlowGuide(encoder, 2, 3, 2, (8,)), 7),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    build, width = FAMILIES[request.param]
    guide = build(MLP(3, width, (6,)))
    for parameter in guide.parameters():
        nn.init.normal_(parameter, std=0.4)
    return guide.double(), width


@torch.no_grad()
def test_a_posterior_integrates_to_one_and_its_draws_are_of_it(family):
    guide, width = family
    q = guide.posterior(0.5 * torch.randn(width, dtype=torch.float64))
    assert (q.batch_shape, q.event_shape) == ((), (2,))
    line = torch.linspace(-14, 14, 561, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    mass = q.log_prob(grid).exp() * (line[1] - line[0]) ** 2
    assert mass.sum().item() == pytest.approx(1, abs=1e-3)
    z = q.sample((40_000,))
    mean = (mass[:, None] * grid).sum(0)
    torch.testing.assert_close(z.mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(z.T.cov(), (grid - mean).T @ (mass[:, None] * (grid - mean)), atol=0.1, rtol=0.05)
    torch.testing.assert_close(q.mean, mean, atol=0.4 if isinstance(guide, FlowGuide) else 1e-3, rtol=0)


def test_a_draw_is_scored_as_any_value(family):
    guide, width = family
    q = guide.posterior(torch.randn(4, width, dtype=torch.float64, requires_grad=True)).expand((3, 4))
    z = q.rsample()
    assert z.shape == (3, 4, 2)
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()))
    with torch.no_grad():
        drawn = q.rsample()
    assert q.log_prob(drawn).requires_grad  # a draw without gradients, scored with them


def test_the_pathwise_gradient_is_that_of_the_expectation(family):
    """d/dparams E_q[f(z)], by draws, against the derivative of the integral."""
    guide, width = family
    params = (0.3 * torch.randn(width, dtype=torch.float64)).requires_grad_()
    line = torch.linspace(-14, 14, 421, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)

    def f(z):
        return z[..., 0].sin() + z[..., 0] * z[..., 1] / 4 + z[..., 1].tanh()

    integral = (guide.posterior(params).log_prob(grid).exp() * f(grid)).sum() * (line[1] - line[0]) ** 2
    (exact,) = torch.autograd.grad(integral, params)
    (ours,) = torch.autograd.grad(f(guide.posterior(params).rsample((60_000,))).mean(), params)
    torch.testing.assert_close(ours, exact, atol=0.03, rtol=0.05)


def test_the_factor_of_the_full_guide_has_each_number_once():
    params = torch.arange(1.0, 15.0) / 7
    q = FullNormalGuide(nn.Identity()).posterior(params)
    factor = q.scale_tril
    assert torch.equal(factor, factor.tril())
    raw = factor.tril(-1) + torch.diag(7 * torch.atanh(factor.diagonal().log() / 7))
    entries = raw[tuple(torch.tril_indices(4, 4))]
    torch.testing.assert_close(entries.sort().values, params[4:])
    torch.testing.assert_close(q.loc, params[:4])


@pytest.mark.parametrize(
    ("guide", "wants"),
    [
        (FullNormalGuide(nn.Identity()), "2 D + D (D - 1) / 2"),
        (LowRankNormalGuide(nn.Identity(), 2), "4 D"),
        (MixtureGuide(nn.Identity(), 2), "2 (2 D + 1)"),
        (FlowGuide(nn.Identity(), 2, 5), "9"),
    ],
)
def test_an_encoder_of_another_width(guide, wants, says):
    with says(ShapeError, type(guide).__name__, f"an encoder of {wants} outputs", "got 7"):
        guide.posterior(torch.zeros(3, 7))


def test_a_mixture_of_one_and_a_flow_of_one_dimension(says):
    with says(ShapeError, "components=1", "NormalGuide"):
        MixtureGuide(nn.Identity(), 1)
    with says(ShapeError, "dim=1"):
        FlowGuide(nn.Identity(), 1, 2)


# ------------------------------------------------------------- two posteriors that are known, and far from normal


def pair_of(statistic, observed, scale):
    """p(z) = Normal(0, I) on the plane, p(x | z) = Normal(x; statistic(z), scale), and log p(x) at x = observed."""

    def model(x=None, *, size=None):
        with pyro.plate("data", size or len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(statistic(z), scale), obs=x)

    line = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    joint = dist.Normal(0.0, 1.0).log_prob(grid).sum(-1) + dist.Normal(statistic(grid), scale).log_prob(observed)
    return model, (joint.logsumexp(0) + 2 * (line[1] - line[0]).log()).item()


X = torch.tensor(1.5)
FOLDED, LOG_FOLDED = pair_of(lambda z: z[..., 0].abs(), X, 0.5)  # two modes: the sign of z_1 is lost in x
BENT, LOG_BENT = pair_of(lambda z: z[..., 1] - 2 * z[..., 0].square(), -X, 0.3)  # a parabola


class Constant(nn.Module):
    """An encoder that learns one posterior, whatever x is."""

    def __init__(self, *params):
        super().__init__()
        self.params = nn.Parameter(torch.tensor(params))

    def forward(self, x):
        return self.params.expand(*x.shape, -1)


def trained(model, guide, observed, steps=500):
    """The ELBO of a guide that was trained on one datum, 16 draws a step."""
    data = {"x": observed.expand(16)}
    svi = SVI(model, guide, (torch.optim.Adam, {"lr": 0.02}), compile=False)
    svi.run(data, steps, order=torch.arange(16).expand(steps, 16))
    return evaluate(model, guide, data, num_samples=500, compile=False).elbo.value


def fraction(guide, data):
    """The fraction of draws with z_1 > 0."""
    z = torch.cat([trace_pair(FOLDED, guide, data).latent()["z"][0]["value"] for _ in range(50)])
    return (z[:, 0] > 0).float().mean().item()


def test_of_two_modes_the_diagonal_guide_finds_one_and_misses_log_2():
    guide = NormalGuide(Constant(1.0, 0.0, -0.5, 0.0))
    assert trained(FOLDED, guide, X) == pytest.approx(LOG_FOLDED - math.log(2), abs=0.05)
    data = {"x": X.expand(16)}
    assert fraction(guide, data) > 0.95
    assert evaluate(FOLDED, guide, data, num_samples=1000, compile=False).log_evidence.value < LOG_FOLDED - 0.3
    seen = annealed(FOLDED, guide, data, Annealing(start="prior"))
    assert seen.log_evidence.value == pytest.approx(LOG_FOLDED, abs=0.1)


def test_the_mixture_guide_keeps_both_modes():
    start = [0.0, 0.0, 1.0, 0.0, -1.0, 0.0, -0.5, 0.0, -0.5, 0.0]  # logits, locs on either side, raw scales
    guide = MixtureGuide(Constant(*start), 2)
    assert trained(FOLDED, guide, X) == pytest.approx(LOG_FOLDED, abs=0.05)
    assert 0.3 < fraction(guide, {"x": X.expand(16)}) < 0.7


@pytest.mark.slow
def test_the_flow_guide_bends_where_a_normal_cannot():
    normal = trained(BENT, NormalGuide(Constant(0.5, 0.0, -1.0, -1.0)), -X, 300)
    full = trained(BENT, FullNormalGuide(Constant(0.5, 0.0, -1.0, 0.0, -1.0)), -X, 300)
    flow = trained(BENT, FlowGuide(Constant(0.5, 0.0, -1.0, -1.0, 0.0), 2, 1, 4, (16,)), -X)
    assert normal - 0.05 < full < flow - 0.05 < LOG_BENT
