"""The HMC kernel, where p(z | x) is exact, and the latents that it cannot move."""

import math
from contextlib import contextmanager

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.guides import NormalGuide
from pyrovae.inference import Annealing, annealed
from pyrovae.inference.evidence.hmc import Path, transition
from pyrovae.inference.pair.on_data import on_data
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

# ----------------------------------------------------------------------------------------------- the kernel


def steps(pair, factor):
    """Step sizes in units of the smallest scale of the posterior; leapfrog steps are unstable from 2."""
    return factor * torch.linalg.eigvalsh(pair.covariance).min().sqrt().expand(3, 2)


@contextmanager
def chains(ppca, start, count, seed=0):
    """A path at 3 data points of a linear-Gaussian pair, and points drawn from the exact posterior."""
    data = ppca.data(3)
    posterior = dist.MultivariateNormal(ppca.posterior_mean(data["x"]), ppca.covariance)
    with on_data("a test", ppca.model, ppca.guide(0.5, 1.5), data, seed=seed) as pair:
        path = Path(pair, start)
        yield path, data, posterior, path.point(posterior.sample((count,)), data)


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_the_kernel_leaves_the_posterior_as_it_is(ppca, start):
    with chains(ppca, start, 4000, seed=1) as (path, data, posterior, point):
        for _ in range(4):
            point, rate = transition(path, point, data, 1.0, steps(ppca, 1.4), 4)
    assert 0.5 < rate.mean() < 0.97  # with steps so large, the chains would be off without the correction
    z = point.u
    assert ((z.mean(0) - posterior.mean).abs() < 5 * (ppca.covariance.diagonal() / 4000).sqrt()).all()
    for row in range(3):
        torch.testing.assert_close(z[:, row].T.cov(), ppca.covariance, rtol=0.15, atol=0.01)


def test_without_the_correction_the_kernel_would_be_off(ppca, monkeypatch):
    """The test above has power, because it fails for a kernel that always accepts."""
    monkeypatch.setattr("pyrovae.inference.evidence.hmc.torch.rand_like", torch.zeros_like)
    with chains(ppca, "prior", 4000, seed=1) as (path, data, _, point):
        for _ in range(4):
            point, _ = transition(path, point, data, 1.0, steps(ppca, 1.4), 4)
    spread = point.u.var(0) / ppca.covariance.diagonal()
    assert spread.max() > 1.15


def test_detailed_balance(ppca):
    """At equilibrium, u to u' is as frequent as u' to u, so E f(u) g(u') = E f(u') g(u)."""
    with chains(ppca, "prior", 20_000, seed=2) as (path, data, posterior, point):
        end, _ = transition(path, point, data, 1.0, steps(ppca, 1.2), 3)
    u, v = ((p.u - posterior.mean)[..., 0] for p in (point, end))
    for f, g in ((torch.square, torch.abs), (torch.tanh, lambda u: u**3), (lambda u: u > 0.3, torch.square)):
        difference = f(u) * g(v) - f(v) * g(u)
        assert difference.abs().mean() > 0
        assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(difference.numel())


def test_a_path_that_diverges_is_rejected(ppca):
    with chains(ppca, "prior", 5) as (path, data, _, point):
        end, rate = transition(path, point, data, 1.0, steps(ppca, 1e200), 3)
    assert (rate == 0).all()
    assert all(torch.equal(old, new) for old, new in zip(point, end, strict=True))


def test_the_gradients_are_those_of_the_densities(ppca):
    with chains(ppca, "guide", 2) as (path, data, _, point):
        nudge = 1e-6 * torch.randn_like(point.u)
        near = path.point(point.u + nudge, data)
    for temperature in (0.0, 0.3, 1.0):
        change = near.log_density(temperature) - point.log_density(temperature)
        torch.testing.assert_close(change, (nudge * point.slope(temperature)).sum(-1), rtol=1e-3, atol=1e-10)


def test_from_the_prior_the_weight_is_the_likelihood(ppca):
    data = ppca.data(4)
    with on_data("a test", ppca.model, ppca.guide(), data) as pair:
        path = Path(pair, "prior")
        point = path.point(path.draw(data, 3), data)
    likelihood = dist.Normal(ppca.decode(point.u), ppca.scale).to_event(1).log_prob(data["x"])
    torch.testing.assert_close(point.log_ratio, likelihood)


def test_one_graph_serves_all_temperatures(captured_only):
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    data = {"x": torch.rand(5, 4).round()}
    with on_data("a test", model, guide, data) as pair:
        path = Path(pair, "guide", compile=True)
        point = path.point(path.draw(data, 3), data)
        for temperature in (0.2, 0.5, 1.0):
            point, _ = transition(path, point, data, temperature, torch.full((5, 2), 0.1), 2)
    assert len(path.leapfrog) == path.leapfrog.captures == 1


# --------------------------------------------------------------------------------------------------- errors


def outside(x, data_size=None):
    pyro.sample("bias", dist.Normal(0.0, 1.0))
    with pyro.plate("data", data_size or len(x), subsample_size=len(x), dim=-1):
        pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)


def outside_guide(x):
    pyro.sample("bias", dist.Normal(0.0, 1.0))


def test_a_latent_of_all_data(says):
    with says(PairError, "outside the plate 'data'", "pyro.condition"):
        annealed(outside, outside_guide, {"x": torch.zeros(3)})


def one_latent(fn, **infer):
    def program(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", fn, infer=infer)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    return program


def draws(fn, name="z", **infer):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample(name, fn, infer=infer)

    return guide


class Unsupported(dist.Normal):
    @property
    def support(self):
        raise NotImplementedError


NORMAL = dist.Normal(0.0, 1.0)


@pytest.mark.parametrize(
    ("model", "guide", "words"),
    [
        (one_latent(dist.Poisson(1.0)), draws(dist.Poisson(2.0)), ("'z'", "discrete", "enumerate")),
        (one_latent(NORMAL), draws(dist.Delta(torch.zeros(()))), ("'z'", "point mass", 'start="prior"')),
        (one_latent(dist.Bernoulli(0.5), enumerate="parallel"), lambda x: None, ("requires a latent", "evaluate")),
        (one_latent(NORMAL), lambda x: None, ("'z'", "guide")),
        (one_latent(NORMAL), draws(Unsupported(0.0, 1.0)), ("'z'", "Unsupported", "support = constraints.real")),
    ],
)
def test_latents_that_cannot_be_moved(model, guide, words, says):
    with says(PairError, *words):
        annealed(model, guide, {"x": torch.zeros(3)})


def test_an_auxiliary_site(says):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", NORMAL, infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(a, 1.0))

    data = {"x": torch.zeros(3)}
    with says(PairError, "'a'", "auxiliary", 'start="prior"'):
        annealed(one_latent(NORMAL), guide, data)
    how = Annealing(num_temperatures=12, num_leapfrog=4, start="prior")
    measured = annealed(one_latent(NORMAL), guide, data, how, compile=False)
    exact = dist.Normal(0.0, math.sqrt(2)).log_prob(data["x"])
    assert abs(measured.log_evidence.value - exact.mean().item()) < 4 * measured.log_evidence.error
