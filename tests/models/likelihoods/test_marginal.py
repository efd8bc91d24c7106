"""A likelihood that does not depend on z, alone and as a block of a table."""

import pytest
import torch

from pyrovae.errors import SupportError
from pyrovae.guides import NormalGuide
from pyrovae.inference import evaluate
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks import MLP


def codes(size=50):
    """Values 0, 1 and 2 of two columns."""
    return torch.randint(3, (size, 2), generator=torch.Generator().manual_seed(0)).float()


def test_every_z_has_the_frequencies_of_the_data():
    x = codes()
    likelihood = likelihoods.Marginal(likelihoods.Categorical(2, 3))
    assert likelihood.params_shape == (0,)
    assert likelihood.start(x).shape == (0,)
    counts = torch.stack([(x == value).sum(0) + 1 for value in range(3)], -1)
    exact = (counts / counts.sum(-1, keepdim=True)).log()
    scored = likelihood(torch.zeros(4, 50, 0)).log_prob(x)
    assert scored.shape == (4, 50)
    torch.testing.assert_close(scored[2], exact[[0, 1], x.long()].sum(-1))


def test_images_of_one_shape_have_parameters_of_one_shape():
    likelihood = likelihoods.Marginal(likelihoods.Bernoulli((1, 2, 2)))
    fn = likelihood(torch.zeros(5, *likelihood.params_shape))
    assert (fn.batch_shape, fn.event_shape) == ((5,), (1, 2, 2))
    assert fn.sample().shape == (5, 1, 2, 2)


def test_a_block_that_z_does_not_explain_adds_its_own_evidence():
    x, reals = codes(), torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    block, rest = likelihoods.Marginal(likelihoods.Categorical(2, 3)), likelihoods.Normal(3)
    both = likelihoods.Heterogeneous({"reals": rest, "codes": block})
    both.start(torch.cat([reals, x], -1))
    assert both.params_shape == rest.params_shape
    decoder, guide = MLP(2, both.params_shape), NormalGuide(MLP(5, 4))
    found = evaluate(VAE(priors.StandardNormal(2), both, decoder), guide, {"x": torch.cat([reals, x], -1)})
    alone = evaluate(VAE(priors.StandardNormal(2), rest, decoder), Reals(guide), {"x": reals, "codes": x})
    own = block(torch.zeros(50, 0)).log_prob(x).double()
    torch.testing.assert_close(found.per_datum["elbo"], alone.per_datum["elbo"] + own, rtol=0, atol=1e-4)


class Reals(torch.nn.Module):
    """A guide of the whole row, for a model of its reals."""

    def __init__(self, guide):
        super().__init__()
        self.guide = guide

    def forward(self, x, codes):
        return self.guide(torch.cat([x, codes], -1))


def test_its_parameters_are_trained():
    likelihood = likelihoods.Marginal(likelihoods.Normal(2))
    likelihood(torch.zeros(3, 0)).log_prob(torch.ones(3, 2)).sum().backward()
    assert likelihood.own.grad.tolist() == pytest.approx([3.0, 3.0])


def test_values_outside_the_support_of_its_family(says):
    with says(SupportError, "Categorical", "0, ..., 2"):
        likelihoods.Marginal(likelihoods.Categorical(2, 3)).check(codes() + 1)
