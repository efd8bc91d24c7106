"""Priors: the density that their docstring states."""

import copy
import math

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.errors import PairError, ShapeError
from pyrovae.guides import FullNormalGuide, NormalGuide
from pyrovae.inference import evaluate
from pyrovae.inference.training.checkpoint import restore, weights
from pyrovae.models import VAE, likelihoods
from pyrovae.models.distributions.mixture import DiagonalMixture
from pyrovae.models.priors import FlowPrior, MixtureOfNormals, VampPrior
from pyrovae.models.priors.standard_normal import StandardNormal
from pyrovae.networks.dense import MLP


def test_the_standard_normal():
    z = torch.randn(6, 3)
    p = StandardNormal(3)()
    assert (p.batch_shape, p.event_shape) == ((), (3,))
    torch.testing.assert_close(p.log_prob(z), -(z.square() + math.log(2 * math.pi)).sum(-1) / 2)


def test_it_follows_its_module_and_has_no_state():
    prior = StandardNormal(3).double()
    assert prior().sample().dtype == torch.float64
    assert not prior.state_dict()
    assert repr(prior) == "StandardNormal(3)"


def vamp(components=4, **options):
    guide = NormalGuide(MLP((1, 3, 3), 4, (5,)))
    return VampPrior(guide.given, torch.rand(components, 1, 3, 3), **options), guide


def flow():
    prior = FlowPrior(2, 3, (6,))
    for parameter in prior.parameters():  # away from the identity
        nn.init.normal_(parameter, std=0.2)
    return prior


PRIORS = {"mixture": lambda: MixtureOfNormals(2, 4), "vamp": lambda: vamp()[0], "flow": flow}


@pytest.fixture(params=PRIORS)
def prior(request):
    return PRIORS[request.param]().double()


@torch.no_grad()
def test_a_density_integrates_to_one_and_its_draws_are_of_it(prior):
    if isinstance(prior, VampPrior):
        prior.posterior[0].__self__.double()
    p = prior()
    assert (p.batch_shape, p.event_shape) == ((), (2,))
    line = torch.linspace(-12, 12, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    mass = p.log_prob(grid).exp() * (line[1] - line[0]) ** 2
    assert mass.sum().item() == pytest.approx(1, abs=1e-3)
    z = p.sample((40_000,))
    mean = (mass[:, None] * grid).sum(0)
    torch.testing.assert_close(z.mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(z.T.cov(), (grid - mean).T @ (mass[:, None] * (grid - mean)), atol=0.1, rtol=0.05)


def test_a_prior_under_plates(prior):
    if isinstance(prior, VampPrior):
        prior.posterior[0].__self__.double()
    p = prior().expand((3, 4))
    z = p.sample()
    assert z.shape == (3, 4, 2)
    assert p.log_prob(z).shape == (3, 4)
    torch.testing.assert_close(p.log_prob(z), prior().log_prob(z))


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0])
def test_a_mixture_by_products_is_torchs_mixture(scale):
    loc, scales, logits = 3 * torch.randn(50, 40), scale * (0.5 + torch.rand(50, 40)), torch.randn(50)
    z = loc[torch.arange(20)] + scales[:20] * torch.randn(20, 40)
    components = dist.Normal(loc.double(), scales.double()).to_event(1)
    exact = torch.distributions.MixtureSameFamily(dist.Categorical(logits=logits.double()), components)
    mixed = DiagonalMixture(loc, scales, logits)
    torch.testing.assert_close(mixed.log_prob(z).double(), exact.log_prob(z.double()), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(mixed.mean.double(), exact.mean, rtol=1e-4, atol=1e-5)


def test_a_mixture_far_from_all_components_is_finite_and_has_a_gradient():
    loc = torch.zeros(3, 2, requires_grad=True)
    log_prob = DiagonalMixture(loc, torch.full((3, 2), 1e-3), torch.zeros(3)).log_prob(torch.full((1, 2), 1e3))
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert loc.grad.isfinite().all()


def test_the_vamp_prior_is_the_average_posterior_of_its_pseudo_inputs():
    prior, guide = vamp()
    z = torch.randn(6, 2)
    each = guide.given(prior.pseudo_inputs()).log_prob(z[:, None])
    torch.testing.assert_close(prior().log_prob(z), each.logsumexp(-1) - math.log(4))


def test_pseudo_inputs_start_at_the_data_and_stay_in_their_range():
    start = torch.rand(5, 7) * 0.8 + 0.1
    prior = VampPrior(NormalGuide(MLP(7, 4)).given, start)
    torch.testing.assert_close(prior.pseudo_inputs(), start)
    prior.raw.data += 100
    assert prior.pseudo_inputs().max() <= 1
    free = VampPrior(NormalGuide(MLP(7, 4)).given, 30 * start, bounds=None)
    torch.testing.assert_close(free.pseudo_inputs(), 30 * start)


def test_the_guides_weights_are_in_the_pair_once_and_learn_from_the_prior():
    prior, guide = vamp()
    assert [name for name, _ in prior.named_parameters()] == ["raw"]
    assert list(prior.state_dict()) == ["raw"]
    prior().log_prob(torch.randn(2)).backward()
    assert all(parameter.grad is not None for parameter in guide.parameters())


def test_a_vamp_pair_is_copied_and_loaded_together():
    prior, guide = vamp()
    model = VAE(prior, likelihoods.Bernoulli((1, 3, 3)), MLP(2, (1, 3, 3), (5,)))
    other_model, other_guide = copy.deepcopy((model, guide))
    assert other_model.prior.posterior[0].__self__ is other_guide
    other_guide.encoder.layers[-1].bias.data += 1
    batch = {"x": torch.rand(8, 1, 3, 3).round()}
    before = evaluate(model, guide, batch, num_samples=5).elbo.value
    assert evaluate(other_model, other_guide, batch, num_samples=5).elbo.value != before
    restore(other_model, other_guide, weights(model, guide))
    assert evaluate(other_model, other_guide, batch, num_samples=5).elbo.value == before


def test_a_vamp_prior_of_another_posterior(says):
    guide = FullNormalGuide(MLP(7, 5))
    with says(PairError, "diagonal normals", "MultivariateNormal", "guide.given"):
        VampPrior(guide.given, torch.rand(3, 7))()


def test_a_flow_prior_starts_near_the_normal_and_can_be_copied_after_use():
    prior, z = FlowPrior(6), torch.randn(100, 6)
    normal = StandardNormal(6)().log_prob(z)
    assert (prior().log_prob(z) - normal).abs().mean() < 0.2 * normal.abs().mean()
    prior().rsample((3,))
    torch.testing.assert_close(copy.deepcopy(prior)().log_prob(z), prior().log_prob(z))


def test_a_flow_of_one_dimension(says):
    with says(ShapeError, "at least 2", "dim=1"):
        FlowPrior(1)


def test_what_a_prior_says_of_itself():
    assert repr(MixtureOfNormals(3, 5)) == "MixtureOfNormals(3, 5)"
    assert repr(vamp()[0]) == "VampPrior(4 pseudo-inputs (1, 3, 3))"
