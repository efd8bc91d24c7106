"""The deep Markov model: densities of paths, ends of sequences, and a linear one whose p(x) the Kalman filter gives."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn
from torch.distributions import kl_divergence

from pyrovae.data import Trim
from pyrovae.errors import PairError, ShapeError
from pyrovae.guides import Combiner, MarkovGuide
from pyrovae.inference import encode, evaluate, generate, posterior, reconstruct
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.models import DeepMarkovModel, GatedTransition, Markov, likelihoods
from pyrovae.models.distributions.flow import Flow
from pyrovae.networks.bijections import InverseAutoregressive
from pyrovae.networks.dense import MLP
from pyrovae.networks.recurrent import BackwardRNN

A, Q, R = 0.8, 0.7, 0.5  # z_t = A z_(t-1) + Q noise, x_t = z_t + R noise, z_0 = 0


def linear_step(z):
    return dist.Normal(A * z, Q).to_event(1)


def kalman(x):
    """log p(x_1 ... x_T) of one sequence `(T,)`."""
    mean, variance, total = 0.0, 0.0, 0.0
    for value in x.tolist():
        mean, variance = A * mean, A * A * variance + Q * Q
        total += -0.5 * (math.log(2 * math.pi * (variance + R * R)) + (value - mean) ** 2 / (variance + R * R))
        gain = variance / (variance + R * R)
        mean, variance = mean + gain * (value - mean), (1 - gain) * variance
    return total


def smoother(x):
    """Means and standard deviations of p(z_t | x_1 ... x_T), `(T,)`, by solving for all steps at once."""
    size = len(x)
    difference = torch.eye(size).double() - A * torch.diag(torch.ones(size - 1).double(), -1)
    covariance = (difference.T @ difference / Q**2 + torch.eye(size).double() / R**2).inverse()
    return covariance @ x / R**2, covariance.diag().sqrt()


def exact_steps(x, within):
    """What the data from t on say of z_t, as shift and precision of a normal density, `(N, T, 2)`."""
    shift, precision = torch.zeros(len(x)).double(), torch.zeros(len(x)).double()
    messages = []
    for t in reversed(range(x.shape[1])):
        shift, precision = shift + x[:, t] / R**2, precision + 1 / R**2
        shift, precision = (torch.where(within[:, t], m, 0.0) for m in (shift, precision))
        messages.append(torch.stack([shift, precision], -1))
        total = precision + 1 / Q**2  # z_t summed out
        shift, precision = A / Q**2 * shift / total, A**2 / Q**2 * (1 - 1 / Q**2 / total)
    return torch.stack(messages[::-1], 1)


def exact_step(z, message):
    shift, precision = message.unsqueeze(-2).unbind(-1)
    total = precision + 1 / Q**2
    return dist.Normal((shift + A / Q**2 * z) / total, total.rsqrt()).to_event(1)


class Linear:
    """A linear-Gaussian pair of ragged sequences in one dimension; the guide is the posterior, or a worse one."""

    def __init__(self, stretch=1.0):
        self.stretch = stretch

    def model(self, x, within):
        start = torch.zeros(1).double()
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", Markov(linear_step, start, within))
            pyro.sample("x", dist.Normal(z.squeeze(-1), R).mask(within).to_event(1), obs=x)

    def guide(self, x, within):
        def step(z, message):
            base = exact_step(z, message).base_dist
            return dist.Normal(base.loc, base.scale * self.stretch).to_event(1)

        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", Markov(step, torch.zeros(1).double(), within, exact_steps(x, within)))


@pytest.fixture
def ragged():
    lengths = torch.tensor([6, 1, 4, 3])
    return {"x": torch.randn(4, 6).double(), "within": torch.arange(6) < lengths[:, None]}


def sequences(batch):
    return [x[within] for x, within in zip(batch["x"], batch["within"], strict=True)]


def test_under_the_posterior_each_weight_is_the_evidence_of_the_kalman_filter(ragged):
    pair = Linear()
    log_weight = log_terms(pair.model, pair.guide, ragged, 3).log_weight
    exact = torch.tensor([kalman(x) for x in sequences(ragged)]).double()
    torch.testing.assert_close(log_weight, exact.expand(3, -1))


def test_importance_sampling_finds_the_evidence_of_the_kalman_filter(ragged):
    pair = Linear(stretch=1.3)
    found = evaluate(pair.model, pair.guide, ragged, num_samples=4_000).per_datum
    exact = torch.tensor([kalman(x) for x in sequences(ragged)]).double()
    assert ((found["log_evidence"] - exact).abs() < 4 * found["log_evidence_error"] + 1e-4).all()
    assert (found["elbo"] < exact).all()


def test_draws_of_the_posterior_are_those_of_the_smoother(ragged):
    pair = Linear()
    z = posterior(pair.model, pair.guide, ragged, 4_000).latents["z"]
    assert z.shape == (4_000, 4, 6, 1)
    for n, x in enumerate(sequences(ragged)):
        mean, scale = smoother(x)
        seen = z[:, n, : len(x), 0]
        assert ((seen.mean(0) - mean).abs() < 5 * scale / 4_000**0.5).all()
        torch.testing.assert_close(seen.std(0).double(), scale, rtol=0.06, atol=0)


def test_the_rate_of_a_draw_has_the_rate_as_its_mean(ragged):
    start, within = torch.zeros(1).double(), ragged["within"]
    q = Markov(exact_step, start, within, exact_steps(ragged["x"], within)).expand((20_000, 4))
    p = Markov(linear_step, start, within)
    z = q.rsample()
    closed, sampled = kl_divergence(q, p), q.log_prob(z) - p.log_prob(z)
    assert closed.std(0).max() < sampled.std(0).max()
    error = (closed - sampled).std(0) / 20_000**0.5
    assert ((closed.mean(0) - sampled.mean(0)).abs() < 4 * error + 1e-9).all()
    assert kl_divergence(Markov(linear_step, start, within), p).abs().max() < 1e-12


def test_a_draw_is_scored_as_any_value(ragged):
    """The kept steps of a draw, and those computed anew, have the same density; a step at a time as well."""
    transition = GatedTransition(3, 5).double()
    markov = Markov(transition, torch.randn(3).double(), ragged["within"]).expand((2, 4))
    z = markov.rsample()
    assert z.shape == (2, 4, 6, 3)
    assert not z[..., ~ragged["within"], :].any()
    torch.testing.assert_close(markov.log_prob(z), markov.log_prob(z.clone()))
    before, total = markov.start, 0.0
    for t in range(4):
        total = total + transition(before).log_prob(z[:, 2, t])
        before = z[:, 2, t]
    torch.testing.assert_close(markov.log_prob(z)[:, 2], total)


def test_a_draw_by_flows_is_scored_as_any_value():
    flow = InverseAutoregressive(3, 2, (8,)).double()
    within = torch.tensor([[True, True, False], [True, True, True]])
    h = torch.randn(2, 3, 2).double()

    def step(z, h):
        return Flow(dist.Normal(0.5 * z, 1.0).to_event(1), [flow], h)

    markov = Markov(step, torch.zeros(3).double(), within, h).expand((5, 2))
    z = markov.rsample()
    torch.testing.assert_close(markov.log_prob(z), markov.log_prob(z.clone()))
    with pytest.raises(NotImplementedError):
        kl_divergence(markov, Markov(linear_step, torch.zeros(3).double(), within))


def test_the_mean_is_the_path_of_means():
    within = torch.tensor([[True, True, True, False]])
    mean = Markov(linear_step, torch.ones(2), within).mean
    torch.testing.assert_close(mean, torch.tensor([[[A, A], [A**2, A**2], [A**3, A**3], [0, 0]]]))


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
    """The same path, alone, in a batch of longer ones, and padded with anything: the same terms to 1e-5."""
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
