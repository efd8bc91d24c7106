"""Objectives of discrete latents: each against the sum over all their values."""

from functools import partial
from itertools import product

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import nn

from pyrovae.errors import PairError, SettingError
from pyrovae.guides import JointGuide, NormalGuide
from pyrovae.inference import ELBO, SVI, Enumerated, Linear, Relaxed, ScoreFunction
from pyrovae.inference.objectives.particles import draw_particles
from pyrovae.inference.pair.contract import local_params
from pyrovae.inference.pair.handlers import PutValues
from pyrovae.inference.pair.tracing import sites
from pyrovae.models import ConditionalNormal, MixtureVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

K, SIZE = 3, 4


def joint():
    """A mixture of K normals in two dimensions, and its guide, in double precision."""
    prior = ConditionalNormal(MLP(K, 4, ()))
    model = MixtureVAE(priors.OneHot(K, learned=True), prior, likelihoods.Bernoulli(6), MLP(2, 6, (7,)))
    guide = JointGuide(MLP(6, K, (7,)), NormalGuide(JointMLP([6, K], 4, (7,))))
    return model.double(), guide.double()


@pytest.fixture
def x():
    return torch.rand(SIZE, 6).round().double()


class Chain(nn.Module):
    """p(a) p(b | a) p(x | a, b), both latents discrete, with tables q(a | x) and q(b | a, x); b has two values."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(SIZE, K).double()), nn.Parameter(torch.randn(SIZE, K, 2).double())
        self.p_a, self.p_b = nn.Parameter(torch.randn(K).double()), nn.Parameter(torch.randn(K, 2).double())
        self.loc = nn.Parameter(torch.randn(K, 2).double())

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Categorical(logits=self.p_a))
            b = pyro.sample("b", dist.Categorical(logits=self.p_b[a]))
            pyro.sample("x", dist.Normal(self.loc[a, b], 0.5), obs=x)

    def guide(self, x):
        rows = torch.arange(len(x))
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Categorical(logits=self.a))
            pyro.sample("b", dist.Categorical(logits=self.b[rows, a]))

    def elbo(self, x):
        """A loop over all values, `(B,)`."""
        total = torch.zeros(len(x)).double()
        for a, b in product(range(K), range(2)):
            log_q = self.a.log_softmax(-1)[:, a] + self.b.log_softmax(-1)[:, a, b]
            log_p = self.p_a.log_softmax(-1)[a] + self.p_b.log_softmax(-1)[a, b]
            total = total + log_q.exp() * (log_p + dist.Normal(self.loc[a, b], 0.5).log_prob(x) - log_q)
        return total


def gradients(value, *modules):
    parameters = [p for module in modules for p in module.parameters()]
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return torch.cat(
        [torch.zeros(p.numel()) if g is None else g.flatten() for g, p in zip(found, parameters, strict=True)]
    )


# -------------------------------------------------------------------------------------------------- enumeration


def test_two_latents_against_a_loop():
    chain, x = Chain(), torch.randn(SIZE).double()
    objective = Enumerated()
    loss = objective.differentiable_loss(chain.model, chain.guide, x)
    wanted = -chain.elbo(x).sum()
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(gradients(loss, chain), gradients(wanted, chain))
    total, count = objective.collect()
    assert total == pytest.approx(-wanted.item(), rel=1e-6)
    assert count == SIZE
    theirs = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(chain.model, config_enumerate(chain.guide), x)
    torch.testing.assert_close(loss, theirs)


@pytest.mark.parametrize("kl_weight", [1.0, 0.3])
@pytest.mark.parametrize("num_particles", [1, 3])
def test_a_mixture_by_hand(x, num_particles, kl_weight):
    """The draws of z are those of the objective; everything else is written out."""
    model, guide = joint()
    objective = Enumerated(num_particles, kl_weight=kl_weight)
    with local_params(model, guide):
        objective.loss(model, guide, x)
        particles = objective.draw(partial(model, x), partial(guide, x))
        z = sites(particles.pair.guide)["z"]["value"].reshape(K, num_particles, SIZE, 2)
        log_q, wanted = guide.classifier(x).log_softmax(-1), torch.zeros(SIZE).double()
        for k in range(K):
            c = torch.eye(K).double()[k].expand(SIZE, K)
            rate = log_q[:, k] - model.components.logits.log_softmax(-1)[k]
            rate = rate + guide.guide.given(x, c).log_prob(z[k]) - model.prior(c).log_prob(z[k])
            likelihood = model.likelihood(model.decoder(z[k])).log_prob(x)
            wanted = wanted + log_q[:, k].exp() * (likelihood - kl_weight * rate).mean(0)
        torch.testing.assert_close(objective.bound(particles), wanted)


def test_the_closed_form_of_a_component_is_its_share(x):
    """The rate of c alone: the sum over its values is KL(q(c | x) || p(c))."""
    model, guide = joint()
    objective = Enumerated()
    with local_params(model, guide):
        objective.loss(model, guide, x)
        level = objective.draw(partial(model, x), partial(guide, x)).terms.levels["c"]
        wanted = torch.distributions.kl_divergence(
            dist.OneHotCategorical(logits=guide.classifier(x)), model.components()
        )
    torch.testing.assert_close(level.rate, wanted.unsqueeze(0))


# ----------------------------------------------------------------------------------------------- score function


def outcomes(chain, x, objective):
    """The bound of each outcome of two draws of both latents, and its probability; x is one data point."""
    for values in product(range(K), range(2), range(K), range(2)):
        a, b = torch.tensor(values[::2])[:, None], torch.tensor(values[1::2])[:, None]
        put = PutValues(lambda site, a=a, b=b: {"a": a, "b": b}.get(site["name"]))
        particles = draw_particles(partial(chain.model, x), partial(chain.guide, x), 2, 1, in_guide=put)
        probability = particles.terms.log_guide.detach().sum(0).exp()
        yield probability, objective.bound(particles)


@pytest.mark.parametrize("baseline", ["leave-one-out", "none"])
def test_the_score_function_is_unbiased(baseline):
    """The mean gradient over all 36 outcomes of two draws is that of the sum over the values."""
    chain, x = Chain(), torch.randn(1).double()
    chain.a, chain.b = nn.Parameter(chain.a[:1].detach()), nn.Parameter(chain.b[:1].detach())
    mean = mass = 0.0
    for probability, bound in outcomes(chain, x, ScoreFunction(2, baseline=baseline)):
        mean, mass = mean + probability * gradients(bound.sum(), chain), mass + probability
    torch.testing.assert_close(mass, torch.ones(1).double())
    torch.testing.assert_close(mean, gradients(chain.elbo(x).sum(), chain))


def test_the_baseline_lowers_the_variance():
    chain, x = Chain(), torch.randn(1).double()
    chain.a, chain.b = nn.Parameter(chain.a[:1].detach()), nn.Parameter(chain.b[:1].detach())
    exact, variance = gradients(chain.elbo(x).sum(), chain), {}
    for baseline in ("leave-one-out", "none"):
        found = outcomes(chain, x, ScoreFunction(2, baseline=baseline))
        variance[baseline] = sum(p * (gradients(b.sum(), chain) - exact).square().sum() for p, b in found).item()
    assert variance["leave-one-out"] < 0.7 * variance["none"]


def test_the_value_of_the_score_function_is_the_elbo(x):
    model, guide = joint()
    values = []
    for objective in (ScoreFunction(5), ScoreFunction(5, baseline="none")):
        with local_params(model, guide):
            objective.loss(model, guide, x)
            torch.manual_seed(1)
            particles = objective.draw(partial(model, x), partial(guide, x))
        torch.testing.assert_close(objective.bound(particles), objective.elbo(particles))
        values.append(objective.elbo(particles))
    torch.testing.assert_close(*values)


# --------------------------------------------------------------------------------------------------- relaxation


class Two(nn.Module):
    """p(c) p(x | c) with c one of two corners, and a table q(c | x) of one logit; the decoder is not linear."""

    def __init__(self, size):
        super().__init__()
        self.logit, self.size = nn.Parameter(torch.tensor(0.4).double()), size

    def value(self, c):
        return (2 * c[..., 0] - 0.5).square()

    def model(self, x):
        with pyro.plate("data", self.size, dim=-1):
            c = pyro.sample("c", dist.OneHotCategorical(logits=torch.zeros(2).double()))
            pyro.sample("x", dist.Normal(self.value(c), 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", self.size, dim=-1):
            logits = torch.stack([self.logit, torch.zeros(()).double()])
            pyro.sample("c", dist.OneHotCategorical(logits=logits))

    def log_likelihood(self, c):
        return dist.Normal(self.value(c), 1.0).log_prob(torch.tensor(1.3).double())

    def rate(self):
        q = torch.stack([self.logit.sigmoid(), (-self.logit).sigmoid()])
        return (q * (q.log() + torch.tensor(2.0).double().log())).sum()

    def relaxed(self, temperature):
        """The expectation over the logistic noise, by its quantiles."""
        u = (torch.arange(200_000).double() + 0.5) / 200_000
        first = ((self.logit + u.logit()) / temperature).sigmoid()
        return self.log_likelihood(torch.stack([first, 1 - first], -1)).mean() - self.rate()

    def exact(self):
        corners = self.log_likelihood(torch.eye(2).double())
        return (torch.stack([self.logit.sigmoid(), (-self.logit).sigmoid()]) * corners).sum() - self.rate()


@pytest.mark.parametrize(("temperature", "bias"), [(0.3, 0.02), (1.0, 0.05)])
def test_the_relaxed_bound_and_its_bias_against_quadrature(temperature, bias):
    """Value and gradient are those of the integral over the noise, which are not those of the sum over the values."""
    size = 100_000
    pair = Two(size)
    x, objective = torch.full((size,), 1.3).double(), Relaxed(temperature)
    bound = -objective.differentiable_loss(pair.model, pair.guide, x) / size
    relaxed, exact = pair.relaxed(temperature), pair.exact()
    assert bound.item() == pytest.approx(relaxed.item(), abs=0.01)
    (found,), (wanted,), (sum_over,) = (torch.autograd.grad(v, pair.logit) for v in (bound, relaxed, exact))
    assert found.item() == pytest.approx(wanted.item(), abs=bias / 3)
    assert abs(wanted - sum_over) > bias, "the test has no bias to see"
    total, count = objective.collect()
    assert total / count == pytest.approx(exact.item(), abs=0.01), "the tracked ELBO is that of discrete draws"
    assert abs(relaxed - exact) > 0.03


def test_straight_through_takes_corners_and_the_soft_gradient(x):
    model, guide = joint()
    objective = Relaxed(0.7, hard=True)
    with local_params(model, guide):
        objective.loss(model, guide, x)
        particles = objective.draw(partial(model, x), partial(guide, x))
    c = sites(particles.pair.guide)["c"]["value"]
    assert ((c == 0) | (c == 1)).all()
    assert (c.sum(-1) == 1).all()
    (gradient,) = torch.autograd.grad(c[..., 0].sum(), guide.classifier.layers[-1].bias)
    assert gradient.abs().sum() > 0
    torch.testing.assert_close(objective.elbo(particles), particles.terms.log_weight.mean(0))


def test_hard_draws_have_the_probabilities_of_the_guide():
    size = 100_000
    pair, objective = Two(size), Relaxed(0.5, hard=True)
    run = partial(pair.model, torch.zeros(size)), partial(pair.guide, torch.zeros(size))
    objective.loss(pair.model, pair.guide, torch.zeros(size))
    first = sites(objective.draw(*run).pair.guide)["c"]["value"][:, 0]
    assert first.mean().item() == pytest.approx(pair.logit.sigmoid().item(), abs=0.006)


def test_the_temperature_follows_its_schedule(x):
    model, guide = joint()
    objective = Relaxed(Linear(5.0, 0.01, 3))
    with local_params(model, guide):
        objective.loss(model, guide, x)
        sharpest = []
        for _ in range(4):
            c = sites(objective.draw(partial(model, x), partial(guide, x)).pair.guide)["c"]["value"]
            sharpest.append(c.amax(-1).mean().item())
            objective.advance()
    assert sharpest[0] < 0.6
    assert sharpest[3] > 0.95


# ------------------------------------------------------------------------------------------------ all of them

ALL = {
    "enumerated": lambda: Enumerated(2, kl_weight=Linear(0.1, 1.0, 4)),
    "relaxed": lambda: Relaxed(Linear(1.0, 0.5, 4)),
    "straight-through": lambda: Relaxed(0.5, 2, hard=True),
    "score": lambda: ScoreFunction(3),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_captured_equals_eager(make, captured_only, x):
    losses, trained = {}, {}
    for compile in (True, False):
        torch.manual_seed(0)
        model, guide = joint()
        svi = SVI(model, guide, torch.optim.Adam, make(), compile=compile)
        losses[compile] = svi.steps({"x": x}, 6, order=torch.arange(SIZE).expand(6, -1))
        trained[compile] = svi.parameters
    torch.testing.assert_close(losses[True], losses[False], rtol=1e-10, atol=0)
    torch.testing.assert_close(trained[True], trained[False], rtol=0, atol=1e-8)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_training_raises_the_exact_elbo(make, x):
    model, guide = joint()
    judge = Enumerated(200)
    with local_params(model, guide):
        before = judge.loss(model, guide, x)
        SVI(model, guide, partial(torch.optim.Adam, lr=0.05), make(), compile=False).steps(
            {"x": x}, 25, order=torch.arange(SIZE).expand(25, -1)
        )
        assert judge.loss(model, guide, x) < before - 1


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_a_repr_says_what_it_is(make):
    objective = make()
    assert repr(objective).startswith(type(objective).__name__ + "(")


@pytest.mark.parametrize("make", [Enumerated, Relaxed, partial(ScoreFunction, 2)])
def test_a_guide_without_a_discrete_latent(make, says, small, binary):
    with says(PairError, "requires a discrete latent in the guide, got 'z'", "Write ELBO()"):
        make().loss(*small(), binary())


def test_the_elbo_names_these_objectives(says, x):
    model, guide = joint()
    with says(PairError, "ELBO requires differentiable draws", "site 'c'", "Enumerated()"):
        ELBO().loss(model, guide, x)


def test_labels_cannot_be_relaxed(says):
    chain = Chain()
    with says(PairError, "Relaxed requires one-hot latents", "'a'", "Categorical", "OneHotCategorical(logits=...)"):
        Relaxed().loss(chain.model, chain.guide, torch.zeros(SIZE).double())


def counts(guide_plate):
    """A count, or a latent in an inner plate, as a pair."""
    rate = nn.Parameter(torch.tensor(1.0))

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            guide_plate(rate)
            pyro.sample("x", dist.Normal(torch.zeros(len(x)), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            guide_plate(rate)

    return model, guide


def test_a_count_cannot_be_enumerated(says):
    pair = counts(lambda rate: pyro.sample("n", dist.Poisson(rate)))
    with says(PairError, "Enumerated requires latents of finite support", "'n'", "Poisson", "ScoreFunction("):
        Enumerated().loss(*pair, torch.zeros(3))


def test_a_latent_of_an_inner_plate_cannot_be_enumerated(says):
    def drawn(rate):
        with pyro.plate("steps", 2, dim=-2):
            pyro.sample("n", dist.Bernoulli(logits=rate))

    with says(PairError, "Enumerated requires discrete latents directly in the plate 'data'", "'n'", "'steps'"):
        Enumerated().loss(*counts(drawn), torch.zeros(3))


def test_a_latent_that_the_guide_leaves_to_the_model(says):
    """The model sums one latent out; the guide draws the other."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            c = pyro.sample("c", dist.Categorical(torch.ones(2)))
            d = pyro.sample("d", dist.Categorical(torch.ones(2)), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal((c + d).float(), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("c", dist.Categorical(torch.ones(2)))

    with says(PairError, "Enumerated requires a guide that draws each latent", "'d'", "ELBO()"):
        Enumerated().loss(model, guide, torch.zeros(3))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Relaxed(0.0), "temperature"),
        (lambda: Relaxed(kl_weight=-1.0), "kl_weight"),
        (lambda: Relaxed(hard="yes"), "hard"),
        (lambda: Enumerated(kl_weight=-1.0), "kl_weight"),
        (lambda: ScoreFunction(2, kl_weight=-1.0), "kl_weight"),
        (lambda: ScoreFunction(2, baseline="moving"), "baseline"),
    ],
)
def test_settings_without_a_meaning(make, word, says):
    with says(SettingError, word):
        make()


def test_a_baseline_of_one_draw(says):
    with says(PairError, "requires num_particles >= 2, got 1", "ScoreFunction(num_particles=8)"):
        ScoreFunction(1)
    ScoreFunction(1, baseline="none")
