"""The use of codes: counts, perplexity, places, lengths, and their verdicts."""

import math

import pytest
import torch
from torch import nn

from pyrovae.errors import PairError
from pyrovae.guides import NormalGuide, QuantisedGuide
from pyrovae.inference import CodeUse, code_use, diagnose, evaluate
from pyrovae.inference.diagnostics.verdicts import of_codes
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks import MLP, CausalTransformer, Codebook

PLACES = 2


class Chosen(nn.Module):
    """Emits the vectors of codes that the data name: two numbers of {0, ..., 3}, `(B, 2)`."""

    def __init__(self, codebook):
        super().__init__()
        self.codebook = codebook

    def forward(self, x):
        return self.codebook(x.long()).mT


def pair(*, causal=False):
    codebook = Codebook(4, 3)
    network = CausalTransformer(codebook, PLACES, 8, 2, 1)
    prior = priors.CausalCodePrior(network, codebook, PLACES) if causal else priors.UniformCodePrior(codebook, PLACES)
    model = VAE(prior, likelihoods.Poisson(2), MLP((3, PLACES), 2, (4,)))
    return model, QuantisedGuide(Chosen(codebook), codebook, PLACES)


X = torch.tensor([[0.0, 2.0], [1.0, 2.0], [0.0, 2.0], [3.0, 2.0]])


def test_codes_are_counted_at_their_places():
    use = code_use(*pair(), {"x": X})["z"]
    assert use.counts.tolist() == [[2, 1, 0, 1], [0, 0, 4, 0]]
    assert (use.size, use.places, use.used) == (4, 2, 4)
    entropy = 0.5 * math.log(2) + 2 * 0.25 * math.log(4)  # of place 0: 1/2, 1/4, 1/4
    torch.testing.assert_close(use.entropies, torch.tensor([entropy, 0.0]).double())
    assert use.varying.tolist() == [True, False]
    shares = torch.tensor([2, 1, 4, 1]) / 8
    assert use.perplexity == pytest.approx(math.exp(-(shares * shares.log()).sum()))
    assert use.length == pytest.approx(use.uniform_length) == pytest.approx(2 * math.log(4))


def test_the_length_is_the_rate_of_certain_codes():
    model, guide = pair(causal=True)
    use = code_use(model, guide, {"x": X})["z"]
    assert use.length == pytest.approx(evaluate(model, guide, {"x": X}, num_samples=1).rate.value, rel=1e-6)
    assert abs(use.length - use.uniform_length) > 1e-3
    assert "1 of 2" in str(use)
    assert "4 of 4" in str(use)


def test_a_pair_without_codes_has_no_use_of_them(says):
    model = VAE(priors.StandardNormal(2), likelihoods.Poisson(2), MLP(2, 2, (4,)))
    with says(PairError, "'z'", "UniformCodePrior(codebook, grid)"):
        code_use(model, NormalGuide(MLP(2, 4, (4,))), {"x": X})


def words(counts, length=0.0):
    return {verdict.name: verdict for verdict in of_codes("z", CodeUse(torch.tensor(counts), length))}


def test_verdicts_on_a_codebook_in_use():
    found = words([[5] * 20, [5] * 20])
    assert all(verdict.good for verdict in found.values())
    assert "20 of 20 are in use" in found["codes of z"].verdict
    assert found["codes of z"].value == pytest.approx(20)


def test_one_code_of_many_is_a_codebook_collapse():
    found = words([[100] + [0] * 19, [100] + [0] * 19])
    assert found["codes of z"].good is False
    assert "codebook collapse" in found["codes of z"].verdict
    assert "posterior collapse: 0 of 2 places" in found["places of z"].verdict


def test_places_that_are_constant_are_a_posterior_collapse_although_their_codes_differ():
    found = words([[50, 0], [0, 50]])
    assert found["codes of z"].good is True
    assert found["places of z"].good is False


def test_a_code_longer_than_under_a_uniform_prior_is_not_good():
    assert words([[5] * 20], math.log(20) + 0.05)["code length of z"].good is True
    assert words([[5] * 20], math.log(20) + 0.2)["code length of z"].good is False


def test_diagnose_has_the_codes_and_says_what_it_leaves_out():
    found = diagnose(*pair(), {"x": X}, num_samples=30, num_simulations=0)
    assert found.codes["z"].used == 4
    assert found["places of z"].value == 1
    assert "code length" not in found.absent
    assert found.absent["rate of z"] == "certain codes: see their length"
    assert "GumbelCodeGuide" in found.absent["weights"]


def test_diagnose_of_another_pair_has_no_codes():
    model = VAE(priors.StandardNormal(2), likelihoods.Poisson(2), MLP(2, 2, (4,)))
    found = diagnose(model, NormalGuide(MLP(2, 4, (4,))), {"x": X}, num_samples=30, num_simulations=0)
    assert found.codes == {}
