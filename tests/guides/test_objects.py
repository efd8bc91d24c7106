"""The guide of objects: its looks by hand, its rates, and its gradients against the sum over all counts."""

import math
from functools import partial

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.errors import PairError, ShapeError
from pyrovae.guides import ObjectsGuide
from pyrovae.inference import ELBO, SVI, Enumerated, Relaxed, ScoreFunction
from pyrovae.inference.objectives.particles import draw_particles
from pyrovae.inference.pair.contract import local_params
from pyrovae.inference.pair.handlers import PutValues
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.inference.pair.tracing import sites
from pyrovae.models import ObjectsVAE, likelihoods, priors
from pyrovae.models.distributions import Presences
from pyrovae.networks import glimpse, place
from pyrovae.networks.dense import MLP
from pyrovae.numeric import bounded_scale

CANVAS, GLIMPSE, N, D, SIZE = (1, 6, 7), (1, 3, 4), 2, 2, 3


@pytest.fixture
def pair():
    where = priors.Normal([math.log(0.5), 0.1, -0.1], [0.1, 0.4, 0.4])
    likelihood, decoder = likelihoods.Normal(CANVAS, scale=0.5), MLP(D, GLIMPSE, (5,))
    model = ObjectsVAE(priors.Geometric(N, 0.6, learned=True), where, priors.StandardNormal(D), likelihood, decoder)
    guide = ObjectsGuide(model, MLP(CANVAS, 7, (5,)), MLP(GLIMPSE, 2 * D, (5,)), GLIMPSE)
    return model.double(), guide.double()


@pytest.fixture
def x():
    return torch.rand(SIZE, *CANVAS).double()


def test_the_looks_by_hand(pair, x):
    """The second look sees the canvas without the window of the first."""
    model, guide = pair
    counted, located = guide.looks(x)
    prior, left = model.where().base_dist, x
    for step in range(N):
        a, loc, raw_scale = guide.locator(left).split([1, 3, 3], -1)
        torch.testing.assert_close(counted.logits[:, step], a.squeeze(-1))
        torch.testing.assert_close(located.base_dist.loc[:, step], prior.loc + prior.scale * loc)
        torch.testing.assert_close(located.base_dist.scale[:, step], prior.scale * bounded_scale(raw_scale))
        window = place(torch.ones(GLIMPSE).double(), prior.loc + prior.scale * loc, CANVAS)
        left = left * (1 - window)
    assert (left != x).any()


@pytest.mark.parametrize("n", range(N + 1))
def test_steps_without_an_object_cost_nothing(pair, x, n):
    """Where and what of the n objects have the guide's densities, the others those of the prior."""
    model, guide = pair
    pres = (torch.arange(N) < n).double().expand(SIZE, N)
    put = PutValues(lambda site: pres if site["name"] == "z_pres" else None)
    with put, poutine.trace() as trace:
        guide(x)
    q, at = sites(trace.trace), sites(trace.trace)["z_where"]["value"]
    _, located = guide.looks(x)
    seen = guide.encoder(glimpse(x.unsqueeze(1), at, GLIMPSE))
    what = dist.Normal(seen[..., :D], bounded_scale(seen[..., D:]))
    value = q["z_what"]["value"]
    for name, mine, prior in (("z_where", located, model.where()), ("z_what", what.to_event(1), model.what())):
        z = q[name]["value"]
        wanted = mine.log_prob(z)[:, :n].sum(-1) + prior.log_prob(z)[:, n:].sum(-1)
        torch.testing.assert_close(q[name]["fn"].log_prob(z), wanted)
    assert value.shape == (SIZE, N, D)


def test_the_rate_of_no_object_is_that_of_the_count(pair, x):
    model, guide = pair
    put = PutValues(lambda site: torch.zeros(SIZE, N).double() if site["name"] == "z_pres" else None)
    with local_params(model, guide):
        levels = draw_particles(partial(model, x), partial(guide, x), 1, 1, in_guide=put).terms.levels
    for name in ("z_where", "z_what"):
        torch.testing.assert_close(levels[name].rate, torch.zeros(1, SIZE).double())


# ------------------------------------------------------------------------------------------------- gradients


def terms(pair, x, n):
    """log q(n | x) and the bound of n objects, `(B,)`, by the draws of one seed."""
    model, guide = pair
    pres = (torch.arange(N) < n).double().expand(len(x), N)
    put = PutValues(lambda site: pres if site["name"] == "z_pres" else None)
    torch.manual_seed(5)
    found = draw_particles(partial(model, x), partial(guide, x), 1, 1, in_guide=put).terms
    return found.levels["z_pres"].log_guide[0], found.log_weight[0]


def gradients(value, pair):
    parameters = [p for module in pair for p in module.parameters()]
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, retain_graph=True)])


def test_enumeration_sums_over_the_counts(pair, x):
    """The draws of the objective, each scored by hand: sum_n q(n) [log p - log q]."""
    objective = Enumerated()
    with local_params(*pair):
        loss = objective.loss(*pair, x)
        particles = objective.draw(partial(pair[0], x), partial(pair[1], x))
        bound = objective.bound(particles)
        drawn = {name: site["value"] for name, site in sites(particles.pair.guide).items()}
        counted, wanted = pair[1].looks(x)[0], 0
        for n in range(N + 1):
            at = {
                name: drawn[name][n].reshape(-1, N, d).expand(SIZE, N, d) for name, d in (("z_where", 3), ("z_what", D))
            }
            at["z_pres"] = (torch.arange(N) < n).double().expand(SIZE, N)
            put = PutValues(lambda site, at=at: at.get(site["name"]))
            one = draw_particles(partial(pair[0], x), partial(pair[1], x), 1, 1, in_guide=put).terms
            wanted = wanted + counted.log_probs[:, n].exp() * one.log_weight[0]
    assert loss.isfinite()
    torch.testing.assert_close(bound, wanted)
    torch.testing.assert_close(gradients(bound.sum(), pair), gradients(wanted.sum(), pair))


def test_the_score_function_has_the_gradient_of_the_enumeration(pair, x):
    """The mean over all counts of two draws, weighted by their probability, is the gradient of the sum over counts."""
    x, objective, mean, mass = x[:1], ScoreFunction(2), 0, 0
    scored = [terms(pair, x, n) for n in range(N + 1)]
    exact = gradients(sum(log_q.exp() * bound for log_q, bound in scored).sum(), pair)
    with local_params(*pair):
        for m in range(N + 1):
            for n in range(N + 1):
                pres = (torch.arange(N) < torch.tensor([[[m]], [[n]]])).double()
                values = {"z_pres": pres} | noise(pair, x, pres)
                put = PutValues(lambda site, values=values: values.get(site["name"]))
                particles = draw_particles(partial(pair[0], x), partial(pair[1], x), 2, 1, in_guide=put)
                probability = particles.terms.levels["z_pres"].log_guide.detach().sum(0).exp()
                mean = mean + probability * gradients(objective.bound(particles).sum(), pair)
                mass = mass + probability
    torch.testing.assert_close(mass, torch.ones(1).double())
    torch.testing.assert_close(mean, exact)


def noise(pair, x, pres):
    """Where and what by the same noise as in `terms`, differentiable, for two draws of one data point."""
    drawn = {"z_where": [], "z_what": []}
    for row in pres:
        put = PutValues(lambda site, row=row: row if site["name"] == "z_pres" else None)
        torch.manual_seed(5)
        with put, poutine.trace() as trace:
            pair[1](x)
        for name, values in drawn.items():
            values.append(sites(trace.trace)[name]["value"])
    return {name: torch.stack(values) for name, values in drawn.items()}


@pytest.mark.parametrize("objective", [Enumerated(), ScoreFunction(4)])
def test_training_raises_the_elbo(pair, x, objective):
    judge = Enumerated(100)
    with local_params(*pair):
        before = judge.loss(*pair, x)
        adam = partial(torch.optim.Adam, lr=0.02)
        SVI(*pair, adam, objective, compile=False).steps({"x": x}, 25, order=torch.arange(SIZE).expand(25, -1))
        assert judge.loss(*pair, x) < before - 1


# ----------------------------------------------------------------------------------------------------- errors


def test_errors(pair, x, says):
    model, guide = pair
    with says(ShapeError, "ObjectsGuide requires an encoder of 7 outputs", "got 6"):
        ObjectsGuide(model, MLP(CANVAS, 6, ()), guide.encoder, GLIMPSE).double()(x)
    with says(ShapeError, "ObjectsGuide requires the shape of an image"):
        ObjectsGuide(model, guide.locator, guide.encoder, (3, 4))
    with says(PairError, "ELBO requires differentiable draws", "'z_pres'", "Presences", "Enumerated()"):
        ELBO().loss(*pair, x)
    with says(PairError, "Relaxed requires one-hot latents", "'z_pres'", "ScoreFunction("):
        Relaxed().loss(*pair, x)
    model.what = priors.MixtureOfNormals(D, 2).double()
    with says(PairError, "ObjectsGuide requires diagonal normals", "DiagonalMixture", "priors.StandardNormal"):
        guide(x)


def test_a_draw_is_a_count(pair, x):
    with torch.no_grad():
        assert log_terms(*pair, {"x": x}, 3).log_weight.shape == (3, SIZE)
        counted, located = pair[1].looks(x)
    assert isinstance(counted, Presences)
    assert located.batch_shape == (SIZE, N)
