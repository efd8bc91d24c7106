"""The Dirichlet guide: its density, its gradient, and a posterior in its family."""

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.guides import DirichletGuide
from pyrovae.inference import evaluate
from pyrovae.models import VAE, TopicDecoder, priors
from pyrovae.models.likelihoods import Multinomial


def test_its_density_is_the_dirichlet_of_its_encoder():
    guide, x = DirichletGuide(nn.Linear(4, 3)), torch.randn(7, 4)
    a = 0.02 + torch.exp(9 * torch.tanh(guide.encoder(x) / 9))
    z = guide.given(x).sample()
    torch.testing.assert_close(guide.given(x).log_prob(z), dist.Dirichlet(a).log_prob(z))


def test_draws_of_the_smallest_concentration_have_a_density():
    q = DirichletGuide(nn.Identity()).posterior(torch.full((20_000, 5), -1e6))
    z = q.rsample()
    assert (z > 0).all()
    assert q.log_prob(z).isfinite().all()


def test_the_gradient_of_the_mean_is_exact():
    """d E[z_0] / d a by implicit reparameterisation, against a_0 / sum a differentiated."""
    raw = torch.tensor([0.5, -0.3, 1.0], dtype=torch.float64, requires_grad=True)
    guide = DirichletGuide(nn.Identity())
    q = guide.posterior(raw)
    (sampled,) = torch.autograd.grad(q.rsample((100_000,))[:, 0].mean(), raw)
    (exact,) = torch.autograd.grad(guide.posterior(raw).mean[0], raw)
    torch.testing.assert_close(sampled, exact, atol=3e-3, rtol=0)


class Identity(TopicDecoder):
    """Each word is a topic of its own, so the Dirichlet prior is conjugate."""

    def __init__(self, words):
        super().__init__(words, words, None, simplex=True, dropout=0.0)

    def mixed(self, shares):
        return shares.log()

    def scores(self):
        return torch.eye(self.words)

    def start_at(self, output):
        pass


class Exact(nn.Module):
    """The raw parameters at which the guide is the posterior, Dirichlet(a + x)."""

    def forward(self, x):
        return 9 * torch.atanh((x + 0.7 - 0.02).log() / 9)


def test_where_the_posterior_is_in_the_family_the_elbo_is_the_evidence():
    """log p(x) of a Dirichlet-multinomial is known."""
    x, a = torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0, 5.0]], dtype=torch.float64), torch.full((3,), 0.7).double()
    model = VAE(priors.Dirichlet(3, 0.7), Multinomial(3), Identity(3)).double()
    measured = evaluate(model, DirichletGuide(Exact()), {"x": x}, num_samples=200)
    exact = dist.DirichletMultinomial(a, x.sum(-1)).log_prob(x)
    for name in ("elbo", "log_evidence"):
        torch.testing.assert_close(measured.per_datum[name].double(), exact, atol=1e-3, rtol=0)
    assert measured.rate.value == pytest.approx(
        dist.kl.kl_divergence(dist.Dirichlet(a + x), dist.Dirichlet(a)).mean().item(), rel=0.2
    )
