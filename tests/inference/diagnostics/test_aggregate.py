"""The aggregate posterior, where mutual information and marginal KL are exact."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference.diagnostics import AggregatePosterior, aggregate_posterior
from pyrovae.inference.evidence.estimates import Estimate


def test_mutual_information_and_marginal_kl(ppca, two_dimensions):
    """For x in R, z | x ~ Normal(x, s), so q(z) is a mixture, integrated on a grid."""
    model, guide = two_dimensions(0.3)
    x = torch.randn(40, 1, dtype=torch.float64)
    found = aggregate_posterior(model, guide, {"x": x}, num_samples=4000)
    z = torch.linspace(-8, 8, 16_001).double()
    each = dist.Normal(x, 0.3).log_prob(z)  # (40, grid)
    mixture = each.logsumexp(0) - math.log(40)
    information = (each.exp() * (each - mixture)).sum().item() * 0.001 / 40
    marginal = (mixture.exp() * (mixture - dist.Normal(0.0, 1.0).log_prob(z))).sum().item() * 0.001
    assert abs(found.mutual_information.value - information) < 4 * found.mutual_information.error
    assert abs(found.marginal_kl.value - marginal) < 4 * found.marginal_kl.error
    assert found.mutual_information.error < 0.03
    assert found.size == 40


def test_mutual_information_of_many_data_is_that_of_their_distribution(ppca):
    """With the exact posterior I = log det(I + W'W / s^2) / 2, and q(z) is the prior."""
    data = ppca.data(4000)
    found = aggregate_posterior(ppca.model, ppca.guide(), data, num_samples=400)
    exact = -torch.logdet(ppca.covariance).item() / 2
    assert found.mutual_information.value == pytest.approx(exact, abs=4 * found.mutual_information.error + 0.02)
    assert found.marginal_kl.value == pytest.approx(0, abs=4 * found.marginal_kl.error + 0.02)


def test_chunks_do_not_change_the_aggregate(ppca):
    data = ppca.data(23)
    whole, parts = (aggregate_posterior(ppca.model, ppca.guide(), data, memory=m) for m in (2**28, 2**21))
    for a, b in zip(whole.mutual_information, parts.mutual_information, strict=True):
        assert a == pytest.approx(b, abs=0.2)


def test_an_auxiliary_draw_leaves_no_aggregate(ppca, says):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(a.unsqueeze(-1).expand(*a.shape, 2).double(), 1.0).to_event(1))

    with says(PairError, "auxiliary draw 'a'"):
        aggregate_posterior(ppca.model, guide, ppca.data(3))


def test_progress_over_the_data(ppca, shows_bar):
    data = ppca.data(5)
    quiet = aggregate_posterior(ppca.model, ppca.guide(), data, num_samples=5)
    assert not shows_bar("data point")
    assert aggregate_posterior(ppca.model, ppca.guide(), data, num_samples=5, progress=True) == quiet
    assert shows_bar("data point")


def test_the_table_of_an_aggregate_posterior():
    known = AggregatePosterior(Estimate(1.0, 0.1), Estimate(0.5, 0.2), 100, {})
    lines = str(known).splitlines()
    assert lines[0] == "mutual information  1.00 ± 0.10, at most log N = 4.61"
    assert lines[1:] == ["marginal KL         0.50 ± 0.20", "nats per data point, 100 data points"]
    absent = AggregatePosterior(Estimate(1.0, 0.1), None, 100, {"marginal KL": "each has its own"})
    assert str(absent).splitlines()[1] == "marginal KL         -, each has its own"
