"""The deep Markov model: ends of sequences, and a linear model whose p(x) the Kalman filter gives."""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import nn

from pyrovae.data import Trim
from pyrovae.errors import PairError, ShapeError
from pyrovae.guides import Combiner, MarkovGuide
from pyrovae.inference import encode, evaluate, generate, posterior, reconstruct
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.models import DeepMarkovModel, GatedTransition, Markov, likelihoods
from pyrovae.networks.dense import MLP
from pyrovae.networks.recurrent import BackwardRNN


class Linear:
    """A linear-Gaussian model of sequences in one dimension; the guide is the posterior, with its scales stretched."""

    def __init__(self, chain, stretch=1.0):
        self.chain, self.stretch = chain, stretch

    def model(self, x, within):
        start = torch.zeros(1).double()
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", Markov(self.chain.step, start, within))
            pyro.sample("x", dist.Normal(z.squeeze(-1), self.chain.R).mask(within).to_event(1), obs=x)

    def guide(self, x, within):
        def step(z, message):
            base = self.chain.posterior_step(z, message).base_dist
            return dist.Normal(base.loc, base.scale * self.stretch).to_event(1)

        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", Markov(step, torch.zeros(1).double(), within, self.chain.messages(x, within)))


def sequences(batch):
    return [x[within] for x, within in zip(batch["x"], batch["within"], strict=True)]


def test_under_the_posterior_each_weight_is_the_evidence_of_the_kalman_filter(chain, ragged):
    pair = Linear(chain)
    log_weight = log_terms(pair.model, pair.guide, ragged, 3).log_weight
    exact = torch.tensor([chain.evidence(x) for x in sequences(ragged)]).double()
    torch.testing.assert_close(log_weight, exact.expand(3, -1))


def test_importance_sampling_finds_the_evidence_of_the_kalman_filter(chain, ragged):
    pair = Linear(chain, stretch=1.3)
    found = evaluate(pair.model, pair.guide, ragged, num_samples=4_000).per_datum
    exact = torch.tensor([chain.evidence(x) for x in sequences(ragged)]).double()
    assert ((found["log_evidence"] - exact).abs() < 4 * found["log_evidence_error"] + 1e-4).all()
    assert (found["elbo"] < exact).all()


def test_draws_of_the_posterior_are_those_of_the_smoother(chain, ragged):
    pair = Linear(chain)
    z = posterior(pair.model, pair.guide, ragged, 4_000).latents["z"]
    assert z.shape == (4_000, 4, 6, 1)
    for n, x in enumerate(sequences(ragged)):
        mean, scale = chain.smoother(x)
        seen = z[:, n, : len(x), 0]
        assert ((seen.mean(0) - mean).abs() < 5 * scale / 4_000**0.5).all()
        torch.testing.assert_close(seen.std(0).double(), scale, rtol=0.06, atol=0)


def deep(dim=3, keys=5):
    model = DeepMarkovModel(GatedTransition(dim, 6), likelihoods.Bernoulli(keys), MLP(dim, keys, (6,)), dim, length=7)
    return model, MarkovGuide(BackwardRNN(keys, 4), Combiner(dim, 4), dim)


def bits(lengths, keys=5):
    x = torch.rand(len(lengths), max(lengths), keys).round()
    return {"x": x, "within": torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]}


def terms_given(model, guide, batch, z):
    """log q(z | x), log p(z) and log p(x | z) of each sequence, `(N,)`, at one path z."""
    with poutine.trace() as inner, poutine.condition(data={"z": z}):
        guide(**batch)
    with poutine.trace() as outer, poutine.condition(data={"z": z}):
        model(**batch)
    parts = [(t.trace.nodes[n]["fn"], t.trace.nodes[n]["value"]) for t, n in ((inner, "z"), (outer, "z"), (outer, "x"))]
    return [fn.log_prob(value) for fn, value in parts]


def test_a_sequence_scores_alone_as_in_any_batch():
    """A path has the same terms, to 1e-5, alone, in a batch of longer sequences, and with any padding."""
    model, guide = deep()
    batch = bits([3, 7, 1])
    garbage = torch.where(batch["within"].unsqueeze(-1), batch["x"], 1.0 - batch["x"])
    z = torch.where(batch["within"].unsqueeze(-1), torch.randn(3, 7, 3), 0.0)
    together = terms_given(model, guide, batch, z)
    padded = terms_given(model, guide, {**batch, "x": garbage}, z + (~batch["within"]).unsqueeze(-1) * 3.0)
    for row, length in enumerate((3, 7, 1)):
        alone = {"x": batch["x"][row : row + 1, :length], "within": torch.ones(1, length, dtype=torch.bool)}
        for one, many, more in zip(
            terms_given(model, guide, alone, z[row : row + 1, :length]), together, padded, strict=True
        ):
            torch.testing.assert_close(one[0], many[row], rtol=0, atol=1e-5)
            torch.testing.assert_close(many[row], more[row], rtol=0, atol=1e-5)


def test_without_ends_all_steps_count():
    model, guide = deep()
    batch = bits([4, 4])
    torch.manual_seed(1)
    marked = log_terms(model, guide, batch, 2).log_weight
    torch.manual_seed(1)
    torch.testing.assert_close(log_terms(model, guide, {"x": batch["x"]}, 2).log_weight, marked)


def test_a_sequence_of_length_one():
    model, guide = deep()
    batch = bits([1, 1])
    measured = evaluate(model, guide, batch, num_samples=5, transform=Trim())
    assert math.isfinite(measured.log_evidence.value)
    assert reconstruct(model, guide, batch).shape == (2, 1, 5)


def test_it_generates_as_long_as_it_is_told():
    model, guide = deep()
    assert generate(model, 2).shape == (2, 7, 5)
    assert generate(model, 3, given={"within": bits([2, 4, 3])["within"]}).shape == (3, 4, 5)
    assert encode(model, guide, bits([2, 4]))["z"].shape == (2, 4, 3)


def test_errors_say_what_sequences_look_like(says):
    model, guide = deep()
    batch = bits([3, 2])
    with says(ShapeError, "(2, 3)", "(2, 3, 5)", "torch.arange(T) < length[:, None]"):
        model(x=batch["x"], within=batch["within"].float())
    with says(ShapeError, "(2, 2)", "(2, 3, 5)"):
        guide(x=batch["x"], within=batch["within"][:, :2])
    with says(PairError, "model(size=16)"):
        model()


def test_the_gate_starts_between_the_identity_and_a_network():
    transition = GatedTransition(4)
    nn.init.constant_(transition.gate.bias, -50.0)
    z = torch.randn(6, 4)
    torch.testing.assert_close(transition(z).mean, z)
