"""Objects on a canvas: the density by hand, and the evidence of a linear model against the exact one."""

import math

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.errors import SettingError, ShapeError
from pyrovae.guides import ObjectsGuide
from pyrovae.inference import decode, encode, evaluate, generate, log_evidence, posterior, reconstruct
from pyrovae.models import ObjectsVAE, likelihoods, priors
from pyrovae.networks import place
from pyrovae.networks.dense import MLP

CANVAS, GLIMPSE, N, D = (1, 6, 7), (1, 3, 4), 2, 2


def objects(spread=0.4, hidden=(5,), background=0.0, likelihood=None):
    model = ObjectsVAE(
        priors.Geometric(N, 0.6),
        priors.Normal([math.log(0.5), 0.1, -0.1], [0.3 * spread, spread, spread]),
        priors.StandardNormal(D),
        likelihood or likelihoods.Normal(CANVAS, scale=0.5),
        MLP(D, GLIMPSE, hidden),
        background=background,
    )
    return model.double()


def test_the_canvas_is_the_sum_of_the_objects():
    model = objects(background=-1.5)
    where, what = torch.randn(4, N, 3).double() * 0.2, torch.randn(4, N, D).double()
    pres = torch.tensor([[0, 0], [1, 0], [1, 1], [1, 0]]).double()
    found = model.canvas(pres, where, what)
    for row in range(4):
        wanted = torch.full(CANVAS, -1.5).double()
        for step in range(N):
            if pres[row, step]:
                wanted = wanted + place(model.decoder(what[row, step]), where[row, step], CANVAS)
        torch.testing.assert_close(found[row], wanted)


def test_the_joint_density_is_that_of_the_formula():
    model, x = objects(), torch.randn(3, *CANVAS).double()
    with poutine.trace() as trace:
        model(x)
    value = {name: trace.trace.nodes[name]["value"] for name in ("z_pres", "z_where", "z_what")}
    n = value["z_pres"].sum(-1)
    wanted = n * math.log(0.6) + (n < N) * math.log(0.4)
    loc, scale = torch.tensor([math.log(0.5), 0.1, -0.1]).double(), torch.tensor([0.12, 0.4, 0.4]).double()
    wanted = wanted + dist.Normal(loc, scale).log_prob(value["z_where"]).sum((-2, -1))
    wanted = wanted + dist.Normal(0.0, 1.0).log_prob(value["z_what"]).sum((-2, -1))
    wanted = wanted + dist.Normal(model.canvas(*value.values()), 0.5).log_prob(x).sum((-3, -2, -1))
    found = trace.trace.log_prob_sum(lambda _, site: site["name"] != "data")
    torch.testing.assert_close(found, wanted.sum(), rtol=1e-6, atol=0)


def exact_evidence(model, x):
    """log sum_n p(n) Normal(x; mean_n, W_n W_n' + scale^2 I) where the places are known and the decoder is linear."""
    at = model.where().mean
    layer = model.decoder.layers[0]
    columns = [place(column.reshape(GLIMPSE), at, CANVAS).flatten() for column in (*layer.weight.T, layer.bias)]
    weight, bias = torch.stack(columns[:-1], -1).detach(), columns[-1].detach()
    log_probs = []
    for n in range(N + 1):
        covariance = n * weight @ weight.T + 0.25 * torch.eye(len(weight)).double()
        normal = dist.MultivariateNormal(n * bias, covariance)
        log_probs.append(normal.log_prob(x.flatten(1)) + model.presences().log_probs[n])
    return torch.stack(log_probs).logsumexp(0)


def test_the_evidence_is_the_enumerated_one():
    model = objects(spread=1e-9, hidden=())
    x = model(size=5).detach()
    guide = ObjectsGuide(model, MLP(CANVAS, 7, ()), MLP(GLIMPSE, 2 * D, ()), GLIMPSE).double()
    found = log_evidence(model, guide, {"x": x}, num_samples=10_000)
    wanted = exact_evidence(model, x)
    assert found.value == pytest.approx(wanted.mean().item(), abs=0.03)
    assert evaluate(model, guide, {"x": x}, num_samples=500).elbo.value < wanted.mean()


def test_tools_take_the_pair():
    model = objects()
    x = model(size=4).detach()
    guide = ObjectsGuide(model, MLP(CANVAS, 7, (5,)), MLP(GLIMPSE, 2 * D, (5,)), GLIMPSE).double()
    codes = encode(model, guide, {"x": x})
    assert {name: tuple(z.shape[1:]) for name, z in codes.items()} == {
        "z_pres": (N,),
        "z_where": (N, 3),
        "z_what": (N, D),
    }
    assert model.presences().support.check(codes["z_pres"]).all()
    torch.testing.assert_close(decode(model, codes), model.canvas(codes["z_pres"], codes["z_where"], codes["z_what"]))
    assert reconstruct(model, guide, {"x": x}).shape == x.shape
    assert generate(model, 3).shape == (3, *CANVAS)
    drawn = posterior(model, guide, {"x": x}, num_samples=20)
    assert model.presences().support.check(drawn.latents["z_pres"]).all()


def test_errors(says):
    with says(SettingError, "background", "finite"):
        objects(background=math.inf)
    with says(ShapeError, "place requires the shape of an image", "(42,)"):
        objects(likelihood=likelihoods.Normal(42, scale=0.5))(size=2)
