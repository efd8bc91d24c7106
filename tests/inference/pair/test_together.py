"""Draws that are scored together, and data points next to others, have the log-probabilities that they have alone."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.errors import PairError
from pyrovae.guides import NormalGuide
from pyrovae.inference import annealed, evaluate, posterior
from pyrovae.inference.objectives import ELBO, IWAE
from pyrovae.inference.pair import check_pair
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

SIZE, LATENT, DIM = 8, 2, 3


class Pair:
    """A VAE with a decoder of the test, and its guide."""

    def __init__(self, decoder, dim=DIM, latent=LATENT):
        self.model = VAE(priors.StandardNormal(latent), likelihoods.Normal(dim, scale=0.5), decoder)
        self.guide = NormalGuide(MLP(dim, 2 * latent, (4,)))

    def check(self, size=SIZE):
        check_pair(self.model, self.guide, {"x": torch.randn(size, self.model.likelihood.event_shape[0])})

    def evaluate(self, size, num_samples):
        data = {"x": torch.randn(size, self.model.likelihood.event_shape[0])}
        return evaluate(self.model, self.guide, data, num_samples=num_samples)


class Mixing(nn.Module):
    """A decoder that does something to the hidden units before its last layer."""

    def __init__(self, mix, inner=LATENT, outer=DIM, hidden=5):
        super().__init__()
        self.first, self.last, self.mix = nn.Linear(inner, hidden), nn.Linear(hidden, outer), mix

    def forward(self, z):
        return self.last(self.mix(self.first(z)))


def trained_norm(width):
    """A BatchNorm that has seen data."""
    norm = nn.BatchNorm1d(width)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    return norm


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("norm", [nn.BatchNorm1d, trained_norm, lambda width: nn.GroupNorm(1, width)])
def test_a_layer_that_takes_dimension_1_for_channels(norm, size, says):
    """It fails with every batch size but its width, where it is silently wrong: both are refused."""
    pair = Pair(Mixing(norm(5)))
    with says(PairError, "site", "BatchNorm", "flatten(0, -2)"):
        pair.check(size)
    with says(PairError, "BatchNorm", "flatten(0, -2)"):
        pair.evaluate(size, 20)


MIXES = {
    "the draws' mean": lambda h: h.mean(0, keepdim=True).expand(h.shape) if h.dim() > 2 else h,
    "softmax over dim 1": lambda h: h.softmax(1),
    "the rows' mean": lambda h: h - h.mean(-2, keepdim=True),
    "the rows' order": lambda h: h.flip(0),
}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_a_decoder_that_mixes_draws_or_rows(mix, says):
    pair = Pair(Mixing(mix))
    with says(PairError, "site 'x' of the model"):
        pair.check()
    with says(PairError, "site 'x' of the model"):
        pair.evaluate(SIZE, 10)


def test_an_encoder_that_mixes_rows(says):
    pair = Pair(MLP(LATENT, DIM, (4,)))
    pair.guide.encoder = Mixing(MIXES["the rows' mean"], DIM, 2 * LATENT)
    with says(PairError, "site 'z' of the guide", "mixes the rows"):
        pair.check()


@pytest.fixture
def draws_as_parts():
    """A program that takes the draws for the parts of an inner plate: its evidence grows with their number."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            loc = z.reshape(-1, len(x))
            with pyro.plate("parts", len(loc), dim=-2):
                pyro.sample("x", dist.Normal(loc, 1.0), obs=x.expand(loc.shape))

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))

    return model, guide


@pytest.mark.parametrize("tool", [evaluate, posterior, annealed], ids=["evaluate", "posterior", "annealed"])
def test_draws_that_a_program_takes_for_the_parts_of_a_plate(tool, draws_as_parts, says):
    data = {"x": torch.randn(SIZE)}
    with says(PairError, "inner plate"):
        check_pair(*draws_as_parts, data)
    with says(PairError, "inner plate"):
        tool(*draws_as_parts, data)


@pytest.mark.parametrize("objective", [ELBO(2), IWAE(5)])
def test_objectives_of_several_draws_refuse_them_too(objective, draws_as_parts, says):
    before = torch.get_rng_state()
    with says(PairError, "inner plate"):
        objective.loss(*draws_as_parts, torch.randn(SIZE))
    assert not torch.equal(torch.get_rng_state(), before)  # the layout is read off a run, as it was before


def test_random_numbers_outside_sites_are_named(says):
    pair = Pair(Mixing(lambda h: h + torch.randn_like(h)))
    with says(PairError, "pyro.sample for each random number", "site 'x'"):
        pair.check()


# ------------------------------------------------------------------------------------------ what is not


def test_a_network_for_single_draws_is_refused_but_evaluated_with_single_draws(says):
    """Nothing is silently wrong: it never runs with several draws. SVI trains it."""
    decoder = nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.Conv2d(2, DIM, 1), nn.Flatten())
    pair = Pair(decoder)
    assert pair.evaluate(SIZE, 1).elbo.value < 0
    assert torch.isfinite(ELBO().loss(pair.model, pair.guide, torch.randn(SIZE, DIM)))
    with says(PairError, "after site 'z'", "num_samples=1", "flatten(0, -2)"):
        pair.check()
    with says(PairError, "after site 'z'", "num_samples=1", "flatten(0, -2)"):
        pair.evaluate(SIZE, 2)
    with says(PairError, "after site 'z'", "num_particles=1"):
        ELBO(2).loss(pair.model, pair.guide, torch.randn(SIZE, DIM))


class Flattened(nn.Module):
    """What the error advises."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, z):
        return self.net(z.flatten(0, -2)).unflatten(0, z.shape[:-1])


@pytest.mark.parametrize("size", [2, 5, 8])
def test_the_advice_is_right(size):
    net = nn.Sequential(nn.Linear(LATENT, 5), trained_norm(5), nn.Linear(5, DIM))
    pair = Pair(Flattened(net))
    pair.check(size)
    x = torch.randn(size, DIM)
    many = evaluate(pair.model, pair.guide, {"x": x}, num_samples=1000)
    each = [evaluate(pair.model, pair.guide, {"x": x}, num_samples=1, seed=seed).elbo.value for seed in range(30)]
    error = torch.tensor(each).std().item() / 30**0.5
    assert many.elbo.value == pytest.approx(sum(each) / 30, abs=5 * error)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0])
def test_rounding_is_no_difference(scale):
    """A narrow likelihood of many numbers, whose log-probabilities are large."""
    likelihood = likelihoods.Normal(500, scale=scale)
    model = VAE(priors.StandardNormal(20), likelihood, MLP(20, 500, (300, 300)))
    check_pair(model, NormalGuide(MLP(500, 40, (300,))), {"x": 100 * torch.randn(7, 500)})


def narrow_chain(network, scale=1e-6):
    """z2 ~ N(0, I), z1 ~ N(network(z2), scale^2), x ~ N(z1, 1), and a guide that draws the same."""

    def top_down(rows):
        z2 = pyro.sample("z2", dist.Normal(torch.zeros(rows, 20), 1.0).to_event(1))
        return pyro.sample("z1", dist.Normal(network(z2), scale).to_event(1))

    def model(x=None, *, size=None):
        rows = len(x) if size is None else size
        with pyro.plate("data", rows, dim=-1):
            pyro.sample("x", dist.Normal(top_down(rows), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            top_down(len(x))

    return model, guide


@pytest.mark.parametrize("mix", [None, *MIXES.values()], ids=[None, *MIXES])
def test_a_latent_narrower_than_rounding_is_told_from_a_mixture(mix, says):
    """Rounding changes log p(z1 | z2) by nats; a network that mixes rows or draws changes it by far more."""
    weight = torch.randn(20, 300)

    def rounded(z):  # another order of the same sum where several draws are scored together
        return z @ weight if z.dim() == 2 else z.flip(-1) @ weight.flip(0)

    model, guide = narrow_chain(rounded if mix is None else Mixing(mix, 20, 300).requires_grad_(False))
    if mix is None:
        check_pair(model, guide, {"x": torch.randn(7, 300)})
    else:
        with says(PairError, "site 'z1'"):
            check_pair(model, guide, {"x": torch.randn(7, 300)})


def test_a_shared_latent_may_depend_on_all_rows():
    def model(x=None, *, size=None, data_size=None):
        mu = pyro.sample("mu", dist.Normal(torch.tensor(0.0), 1.0))
        size = len(x) if size is None else size
        with pyro.plate("data", data_size or size, subsample_size=size, dim=-1):
            pyro.sample("x", dist.Normal(mu, 1.0), obs=x)

    def guide(x, data_size=None):
        pyro.sample("mu", dist.Normal(x.mean(), 0.1))

    check_pair(model, guide, {"x": torch.randn(SIZE)})
