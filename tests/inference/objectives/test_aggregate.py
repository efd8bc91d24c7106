"""Objectives of a whole batch, against loops written out by hand."""

import math
from functools import partial

import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference import ELBO, MMD, BetaTCVAE
from pyrovae.inference.objectives.aggregate import mean_discrepancy
from pyrovae.inference.pair.contract import local_params


def test_the_parts_of_the_rate_sum_to_it(small, binary, loss, learned):
    model, guide = small()
    x = binary()
    unit = learned(BetaTCVAE(1.0, 1.0, 1.0, data_size=100), model, guide, x)
    torch.testing.assert_close(loss(unit, model, guide, x), loss(learned(ELBO(), model, guide, x), model, guide, x))


def test_the_decomposition_by_hand(small, binary):
    """Loops over data and dimensions, and densities written out."""
    model, guide = small()
    x, n = binary(), 100
    objective = BetaTCVAE(data_size=n)
    objective.loss(model, guide, x)
    torch.manual_seed(1)
    with torch.no_grad(), local_params(model, guide):
        draws = objective.draw(partial(model, x), partial(guide, x))
        parts = objective.decompose(draws)
        q = guide.posterior(guide.encoder(x)).base_dist
    z, size = draws.pair.guide.nodes["z"]["value"], len(x)
    for i in range(size):
        density = dist.Normal(q.loc, q.scale).log_prob(z[i]).exp()  # (B, D): q(z_i | x_j) of each dimension
        aggregate = density.prod(-1).sum() / (n * size)
        product = (density.sum(0) / (n * size)).prod()
        own, prior = density[i].prod(), dist.Normal(0.0, 1.0).log_prob(z[i]).sum()
        wanted = torch.stack([(own / aggregate).log(), (aggregate / product).log(), product.log() - prior])
        torch.testing.assert_close(torch.stack([part[i] for part in parts]), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_the_discrepancy(kernel):
    x, y = torch.randn(300, 4), torch.randn(300, 4)
    assert mean_discrepancy(x, x, kernel).abs() < 1e-6
    near, far = mean_discrepancy(x, y, kernel), mean_discrepancy(x, y + 1, kernel)
    assert 0 <= near < far
    assert far > 5 * near


def test_the_discrepancy_by_hand():
    x, y = torch.randn(3, 2), torch.randn(4, 2)

    def k(a, b):
        return math.exp(-((a - b) ** 2).sum().item() / (2 * 2))

    wanted = sum(k(a, b) for a in x for b in x) / 9 + sum(k(a, b) for a in y for b in y) / 16
    wanted -= 2 * sum(k(a, b) for a in x for b in y) / 12
    assert mean_discrepancy(x, y, "rbf").item() == pytest.approx(wanted, abs=1e-5)


def test_the_codes_are_drawn_to_the_prior(ppca, loss):
    """The rate left out, the discrepancy alone keeps the codes where the model draws its own."""
    x = ppca.data(400)["x"]
    near = loss(MMD(100.0), ppca.model, ppca.guide(), x) - loss(MMD(0.0), ppca.model, ppca.guide(), x)
    away = loss(MMD(100.0), ppca.model, ppca.guide(3.0), x) - loss(MMD(0.0), ppca.model, ppca.guide(3.0), x)
    assert away > 10 * near.abs()


def test_a_kernel_of_another_name(says):
    with says(PairError, "'imq'", "'linear'"):
        MMD(1.0, kernel="linear")
    with says(PairError, "'imq'", "'linear'"):
        mean_discrepancy(torch.zeros(2, 1), torch.ones(2, 1), "linear")


def test_the_error_of_a_full_covariance_names_who_asks(ppca, says):
    with says(PairError, "BetaTCVAE requires a product over dimensions", "guide's MultivariateNormal", "kl_weight"):
        BetaTCVAE(data_size=3).loss(ppca.model, ppca.guide(), ppca.data(3)["x"])
