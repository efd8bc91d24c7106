"""Distributions of codes: they sum to one, and gradients are those that their docstrings state."""

import itertools
import math

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import kl_divergence

from pyrovae.models import priors
from pyrovae.models.distributions import CausalCodes, CertainCodes, CodeVectors, GumbelCodes
from pyrovae.models.distributions.codes import straight_through
from pyrovae.networks import CausalTransformer, Codebook, Levels

GRID = (2, 2)


def all_codes(size, places=4):
    """Every grid of codes, `(K^n, 2, 2)`."""
    return torch.tensor(list(itertools.product(range(size), repeat=places))).reshape(-1, *GRID)


def vectors(codebook, codes):
    return codebook(codes).movedim(-1, 1)


def causal(codebook):
    return priors.CausalCodePrior(CausalTransformer(codebook, 4, 8, 2, 2), codebook, GRID)


def uniform(codebook):
    return priors.UniformCodePrior(codebook, GRID)


@pytest.mark.parametrize("codebook", [Codebook(3, 2), Levels([3]), Levels([2, 2])], ids=["free", "line", "square"])
@pytest.mark.parametrize("prior", [uniform, causal])
def test_probabilities_of_all_codes_sum_to_one(codebook, prior):
    z = vectors(codebook, all_codes(codebook.size))
    log_prob = prior(codebook)().log_prob(z)
    torch.testing.assert_close(log_prob.logsumexp(0), torch.tensor(0.0), rtol=0, atol=1e-5)
    if prior is uniform:
        torch.testing.assert_close(log_prob, torch.full_like(log_prob, -4 * math.log(codebook.size)))
    else:
        assert log_prob.std() > 0.01


def test_draws_have_their_probabilities():
    """A causal prior whose logits are spread out: frequencies of 20,000 draws against probabilities."""
    codebook = Codebook(3, 2)
    prior = causal(codebook)
    with torch.no_grad():
        prior.network.bias.normal_()
    codes = all_codes(3)
    fn = prior().expand([20_000])
    drawn = fn.sample()
    assert drawn.shape == (20_000, 2, *GRID)
    assert fn.support.check(drawn).all()
    numbers = (fn.codes(drawn).flatten(1) * 3 ** torch.arange(3, -1, -1)).sum(-1)
    seen = torch.bincount(numbers, minlength=81) / 20_000
    expected = prior().log_prob(vectors(codebook, codes)).exp().detach()
    error = (expected * (1 - expected) / 20_000).sqrt()
    assert ((seen - expected).abs() < 4.5 * error + 2e-4).all()
    assert expected.max() > 4 * expected.min()


def test_the_logits_of_a_code_depend_on_those_before_it_alone():
    network = CausalTransformer(Codebook(5, 3), 6, 8, 2, 2)
    codes = torch.randint(5, (3, 6))
    for place in range(6):
        other = codes.clone()
        other[:, place] = (codes[:, place] + 1) % 5
        same = (network(codes) - network(other)).abs().amax((0, -1)) < 1e-6
        assert same[: place + 1].all()
        assert place == 5 or not same[place + 1 :].any()


def test_draws_of_a_causal_distribution_have_its_batch_shape():
    fn = CausalCodes(CausalTransformer(Codebook(5, 3), 6, 8, 2, 1), (2, 3)).expand([4])
    assert fn.sample((7,)).shape == (7, 4, 2, 3)
    assert fn.log_prob(fn.sample((7,))).shape == (7, 4)
    assert fn.support.check(fn.sample()).all()


def test_straight_through_passes_the_gradient_unchanged():
    h = torch.randn(5, 3, requires_grad=True)
    e = torch.randn(5, 3, requires_grad=True)
    z = straight_through(e, h)
    assert torch.equal(z, e)
    weight = torch.randn(5, 3)
    (weight * z.sin()).sum().backward()
    assert torch.equal(h.grad, weight * e.detach().cos())
    assert e.grad is None


def test_a_draw_of_gumbel_codes_is_exact_and_its_log_probability_too():
    codebook = Codebook(5, 3, decay=None)
    fn = GumbelCodes(torch.randn(4, *GRID, 5), codebook, 2, temperature=0.7)
    z = fn.rsample()
    codes = fn.codes(z)
    assert torch.equal(z, vectors(codebook, codes))
    torch.testing.assert_close(fn.log_prob(z), fn.over.log_prob(codes))
    torch.testing.assert_close(fn.log_prob(z.clone()), fn.over.log_prob(codes))  # not the draw that it remembers


def test_draws_of_gumbel_codes_have_their_probabilities():
    codebook, logits = Levels([4]), torch.randn(1, 4)
    fn = GumbelCodes(logits.expand(50_000, 1, 4), codebook, 1)
    seen = torch.bincount(fn.codes(fn.rsample()).flatten(), minlength=4) / 50_000
    torch.testing.assert_close(seen, logits.softmax(-1)[0], rtol=0, atol=0.01)


def test_the_gradient_of_a_gumbel_draw_is_that_of_the_softmax():
    """By the same noise, the vectors of softmax((logits + noise) / temperature) have the same gradient."""
    codebook, temperature = Codebook(5, 3), 0.6
    logits = torch.randn(2, 4, 5, requires_grad=True)
    weight = torch.randn(2, 3, 4)
    torch.manual_seed(1)
    (weight * GumbelCodes(logits, codebook, 1, temperature).rsample()).sum().backward()
    torch.manual_seed(1)
    noise = -torch.empty(2, 4, 5).exponential_().log()
    soft = ((logits + noise) / temperature).softmax(-1) @ codebook.vectors
    expected = torch.autograd.grad((weight * soft.mT).sum(), logits)[0]
    torch.testing.assert_close(logits.grad, expected)


def test_the_bias_of_the_gradient_of_gumbel_codes_falls_with_the_temperature():
    """Against the gradient of E_q z, by enumeration, with two codes."""
    codebook = Levels([2])
    logits = torch.tensor([[0.3, -0.4]], requires_grad=True)
    exact = torch.autograd.grad((logits.softmax(-1) @ codebook.vectors).sum(), logits)[0]
    biases = []
    for temperature in (1.0, 0.1):
        fn = GumbelCodes(logits.expand(400_000, 1, 2), codebook, 1, temperature)
        found = torch.autograd.grad(fn.rsample().mean(0).sum(), logits)[0]
        biases.append((found / exact - 1).abs().max().item())
    assert biases[0] > 0.2
    assert biases[1] < 0.03


def test_the_divergence_of_gumbel_codes_is_that_of_an_enumeration():
    codebook = Codebook(3, 2, decay=None)
    q = GumbelCodes(torch.randn(*GRID, 3), codebook, 2)
    p = priors.UniformCodePrior(codebook, GRID)()
    z = vectors(codebook, all_codes(3))
    log_q = q.log_prob(z)
    enumerated = (log_q.exp() * (log_q - p.log_prob(z))).sum()
    torch.testing.assert_close(kl_divergence(q, p), enumerated)
    for other in (priors.UniformCodePrior(Codebook(3, 2), GRID)(), causal(codebook)()):
        with pytest.raises(NotImplementedError):
            kl_divergence(q, other)


def test_the_divergence_of_certain_codes_is_their_length():
    codebook = Codebook(3, 2)
    p = causal(codebook)()
    z = vectors(codebook, all_codes(3)[:7])
    torch.testing.assert_close(kl_divergence(CertainCodes(z, event_dim=3), p), -p.log_prob(z))
    slope = torch.ones(7, requires_grad=True)
    kl_divergence(CertainCodes(z, log_density=slope - slope.detach(), event_dim=3), p).sum().backward()
    assert torch.equal(slope.grad, torch.ones(7))


def test_the_support_is_that_of_the_vectors():
    codebook = Codebook(4, 2)
    fn = CodeVectors(dist.Categorical(torch.ones(*GRID, 4)).to_event(2), codebook)
    z = fn.sample((5,))
    assert fn.support.is_discrete
    assert fn.support.check(z).all()
    z[0, 0, 1, 1] += 0.1
    assert fn.support.check(z).tolist() == [False, True, True, True, True]
