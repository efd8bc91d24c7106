"""The rate of each dimension, against closed forms."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import kl_divergence

from pyrovae.errors import PairError
from pyrovae.guides import DeltaGuide
from pyrovae.inference import dimension_rates, evaluate
from pyrovae.models import priors


def test_every_pair_has_a_rate_for_each_dimension(representative):
    pair = representative
    rates = dimension_rates(pair.model, pair.guide, pair.batch)
    assert {name: tuple(rate.shape) for name, rate in rates.items()} == pair.latent
    if "Delta" not in repr(pair.guide):
        assert all(rate.isfinite().all() for rate in rates.values())


def flat(loc, scale, prior, mask=True):
    """A pair of one latent whose guide and prior are those, for each datum."""

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1), pyro.poutine.mask(mask=mask):
            z = pyro.sample("z", prior)
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1), pyro.poutine.mask(mask=mask):
            pyro.sample("z", dist.Normal(loc * x, scale).to_event(1))

    return model, guide


def test_a_normal_against_a_normal_is_exact():
    loc, scale, x = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.5, 1.0, 0.1]), torch.randn(9, 3)
    rates = dimension_rates(*flat(loc, scale, dist.Normal(torch.zeros(3), 1.0).to_event(1)), {"x": x})
    expected = (scale**2 + (loc * x) ** 2 - 1) / 2 - scale.log()
    torch.testing.assert_close(rates["z"], expected.mean(0))


def test_the_rates_sum_to_that_of_the_site(monkeypatch):
    monkeypatch.setattr("pyrovae.inference.rates.CHUNK", 4)
    pair = flat(torch.ones(2), 0.3 * torch.ones(2), dist.Laplace(torch.zeros(2), 1.0).to_event(1))
    data = {"x": torch.randn(10, 2)}
    rate = evaluate(*pair, data, num_samples=4000).rate
    assert dimension_rates(*pair, data)["z"].sum().item() == pytest.approx(rate.value, abs=0.2)


def test_a_normal_with_covariance_goes_by_its_marginals(ppca):
    data = ppca.data(50)
    rates = dimension_rates(ppca.model, ppca.guide(), data)["z"]
    q = dist.Normal(ppca.posterior_mean(data["x"]), ppca.covariance.diagonal().sqrt())
    torch.testing.assert_close(rates, kl_divergence(q, dist.Normal(q.loc * 0, 1)).mean(0))


def test_what_has_no_marginals_goes_by_its_moments():
    """An affine flow of a normal is a normal, so the moments are exact but for their noise."""
    spread = dist.transforms.AffineTransform(torch.zeros(2), torch.tensor([2.0, 1.0]), event_dim=1)
    prior = dist.TransformedDistribution(dist.Normal(torch.zeros(2), 1.0).to_event(1), [spread])
    rates = dimension_rates(*flat(torch.zeros(2), torch.ones(2), prior), {"x": torch.zeros(4000, 2)})["z"]
    exact = torch.tensor([math.log(2) + 1 / 8 - 1 / 2, 0.0])
    torch.testing.assert_close(rates, exact, rtol=0.05, atol=0.03)


def test_a_chain_is_taken_given_the_level_above():
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z2 = pyro.sample("z2", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            z1 = pyro.sample("z1", dist.Normal(3 * z2, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z1, 1.0).to_event(1), obs=x)

    def down(x):
        with pyro.plate("data", len(x), dim=-1):
            z2 = pyro.sample("z2", dist.Normal(x, 0.5).to_event(1))
            pyro.sample("z1", dist.Normal(3 * z2 + 2, 1.0).to_event(1))

    def up(x):
        with pyro.plate("data", len(x), dim=-1):
            z1 = pyro.sample("z1", dist.Normal(x, 1.0).to_event(1))
            pyro.sample("z2", dist.Normal(z1 / 3, 0.5).to_event(1))

    data = {"x": torch.zeros(20_000, 1)}
    rates = dimension_rates(model, down, data)
    torch.testing.assert_close(rates["z1"], torch.tensor([2.0]))  # two standard deviations off: 2^2 / 2
    torch.testing.assert_close(rates["z2"], torch.tensor([(0.25 - 1) / 2 - math.log(0.5)]))
    upwards = dimension_rates(model, up, data)["z1"]  # E (z1 - 3 z2)^2 / 2 - E (z1 - x)^2 / 2, of 3 z2 - z1 ~ N(0, 1.5)
    assert upwards.item() == pytest.approx(1.5**2 / 2 - 0.5, abs=0.05)


def test_a_prior_that_a_summed_out_latent_mixes_is_not_that_of_one_component():
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            k = pyro.sample("k", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(8 * k.unsqueeze(-1) - 4, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))

    rates = dimension_rates(model, guide, {"x": torch.tensor([[-4.0], [4.0]]).repeat(500, 1)})
    variance = 1 + 4**2  # of the mixture
    assert set(rates) == {"z"}
    assert rates["z"].item() == pytest.approx(((1 + 16) / variance - 1 + math.log(variance)) / 2, abs=0.02)


def test_a_masked_datum_has_no_rate():
    mask = torch.tensor([True, False])
    pair = flat(torch.zeros(1), 0.5 * torch.ones(1), dist.Normal(torch.zeros(1), 1.0).to_event(1), mask)
    rates = dimension_rates(*pair, {"x": torch.zeros(2, 1)})["z"]
    torch.testing.assert_close(rates, torch.tensor([((0.25 - 1) / 2 - math.log(0.5)) / 2]))


def test_a_point_mass():
    prior, data = dist.Normal(torch.zeros(3), 1.0).to_event(1), {"x": torch.randn(4, 3)}
    guide = DeltaGuide(torch.nn.Identity())
    assert dimension_rates(flat(0.0, 1.0, prior)[0], guide, data)["z"].isinf().all()
    assert dimension_rates(flat(0.0, 1.0, priors.Flat(3)())[0], guide, data)["z"].isnan().all()


def test_no_data(ppca, says):
    with says(PairError, "wants data"):
        dimension_rates(ppca.model, ppca.guide(), {"x": torch.zeros(0, 5)})
