"""Rates of latents and of dimensions, against closed forms."""

from functools import partial

import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference import ELBO
from pyrovae.inference.objectives.particles import draw_particles
from pyrovae.inference.objectives.rates import dimension_rates, latent_rates, total_rate
from pyrovae.inference.pair.contract import local_params


def test_an_analytic_rate_only_where_it_is_right(loss, chain, guides_of_the_chain):
    """A guide from the bottom up draws z2 after z1: the closed form of z1's rate at that z2 is not its rate."""
    torch.manual_seed(0)
    weights = {"up": torch.randn(2, 2).double(), "out": torch.randn(2, 3).double()}
    x = torch.randn(20_000, 3).double()
    shift = torch.tensor([0.2, -0.1, 0.6]).double().expand(len(x), -1)
    for guide in guides_of_the_chain.values():
        exact, sampled = (
            loss(ELBO(analytic=a), partial(chain, weights), partial(guide, shift), x) / len(x) for a in (True, False)
        )
        assert exact.item() == pytest.approx(sampled.item(), abs=0.08)


@pytest.fixture
def particles(small, binary):
    """Three particles of a dense pair with eight data points, and its guide's distribution."""
    model, guide = small()
    x = binary()
    with torch.no_grad(), local_params(model, guide):
        return draw_particles(partial(model, x), partial(guide, x), 3, 1), guide.posterior(guide.encoder(x)).base_dist


def test_the_closed_form_by_hand(particles):
    drawn, q = particles
    closed = torch.distributions.kl_divergence(q, torch.distributions.Normal(torch.zeros(8, 2), 1.0))
    torch.testing.assert_close(latent_rates(drawn, analytic=True)["z"], closed.sum(-1).expand(3, 8))
    torch.testing.assert_close(total_rate(drawn, analytic=True), closed.sum(-1))
    (by_dimension,) = dimension_rates(drawn, analytic=True)
    torch.testing.assert_close(by_dimension, closed.mean(0))


def test_the_sampled_rate_by_hand(particles):
    drawn, q = particles
    z = drawn.pair.guide.nodes["z"]["value"]
    ratio = q.log_prob(z) - dist.Normal(0.0, 1.0).log_prob(z)
    torch.testing.assert_close(latent_rates(drawn, analytic=False)["z"], ratio.sum(-1))
    torch.testing.assert_close(total_rate(drawn, analytic=False), ratio.sum(-1).mean(0))
    (by_dimension,) = dimension_rates(drawn, analytic=False)
    torch.testing.assert_close(by_dimension, ratio.mean((0, 1)))


def test_dimensions_that_cannot_be_taken_apart(ppca, says):
    x = ppca.data(3)["x"]
    drawn = draw_particles(partial(ppca.model, x), partial(ppca.guide(), x), 2, 1)
    with says(PairError, "A rate per dimension requires a product over dimensions", "MultivariateNormal", "'z'"):
        dimension_rates(drawn, analytic=False)
