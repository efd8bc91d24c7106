"""Guides of one latent vector: every family is a density with a pathwise gradient, and a family is required."""

import pytest
import torch
from torch import nn

from pyrovae.errors import ShapeError
from pyrovae.guides import AmortizedGuide, FlowGuide, FullNormalGuide, LowRankNormalGuide, MixtureGuide, NormalGuide
from pyrovae.networks.dense import MLP

FAMILIES = {  # the guide of a 2-dimensional latent, and how many parameters its encoder emits
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
    assert q.log_prob(drawn).requires_grad  # the draw was made without gradients


def test_the_pathwise_gradient_is_that_of_the_expectation(family):
    """The gradient of E_q[f(z)] by draws agrees with the derivative of the integral."""
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


@pytest.mark.parametrize(
    ("guide", "width"),
    [
        (FullNormalGuide(nn.Identity()), "2 D + D (D - 1) / 2"),
        (LowRankNormalGuide(nn.Identity(), 2), "4 D"),
        (MixtureGuide(nn.Identity(), 2), "2 (2 D + 1)"),
        (FlowGuide(nn.Identity(), 2, 5), "9"),
    ],
)
def test_an_encoder_of_another_width(guide, width, says):
    with says(ShapeError, type(guide).__name__, f"an encoder of {width} outputs", "got 7"):
        guide.posterior(torch.zeros(3, 7))


def test_a_guide_without_a_family_cannot_be_built(says):
    class Unfinished(AmortizedGuide):
        pass

    for guide in (AmortizedGuide, Unfinished):
        with says(TypeError, guide.__name__, "abstract", "posterior"):
            guide(nn.Identity())
