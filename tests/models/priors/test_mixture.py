"""Mixture priors: of learned normals, and of the guide's posteriors at pseudo-inputs."""

import copy
import math

import torch

from pyrovae.errors import PairError
from pyrovae.guides import FullNormalGuide, NormalGuide
from pyrovae.inference import evaluate
from pyrovae.inference.training.pair_weights import restore, weights
from pyrovae.models import VAE, likelihoods
from pyrovae.models.priors import MixtureOfNormals, VampPrior
from pyrovae.networks.dense import MLP


def vamp():
    guide = NormalGuide(MLP((1, 3, 3), 4, (5,)))
    return VampPrior(guide.given, torch.rand(4, 1, 3, 3)), guide


def test_a_mixture_of_normals_is_a_density(is_a_density):
    is_a_density(MixtureOfNormals(2, 4).double())


def test_a_vamp_prior_is_a_density(is_a_density):
    prior, guide = vamp()
    guide.double()
    is_a_density(prior.double())


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


def test_repr():
    assert repr(MixtureOfNormals(3, 5)) == "MixtureOfNormals(3, 5)"
    assert repr(vamp()[0]) == "VampPrior(4 pseudo-inputs (1, 3, 3))"
