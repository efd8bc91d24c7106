"""Hierarchies: the chain p(zL) ... p(z1 | z2) p(x | z1), and the ladder, in which x depends on all latents."""

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from pyrovae.errors import PairError
from pyrovae.inference import decode, encode, generate, interpolate
from pyrovae.models import ConditionalNormal, HierarchicalVAE, Hierarchy, LadderVAE, Level, likelihoods, priors
from pyrovae.networks.blocks import ConvBlock, DenseBlock
from pyrovae.networks.dense import MLP

SHAPE = (1, 3, 3)


@pytest.fixture
def chain():
    conditionals = [ConditionalNormal(MLP(2, 6, (5,))), ConditionalNormal(MLP(3, 8, (5,)))]
    return HierarchicalVAE(priors.StandardNormal(2), conditionals, likelihoods.Bernoulli(SHAPE), MLP(4, SHAPE, (5,)))


@pytest.fixture
def ladder():
    levels = [Level(ConditionalNormal(MLP(5, 2 * d, (4,))), DenseBlock(5, 5, 4, side=d)) for d in (3, 4)]
    likelihood = likelihoods.Bernoulli(SHAPE)
    return LadderVAE(priors.StandardNormal(2), MLP(2, 5, (4,)), levels, likelihood, MLP(5, SHAPE, (5,)))


@pytest.fixture
def conv():
    low, high = (3, 4, 4), (3, 8, 8)
    levels = [
        Level(ConditionalNormal(ConvBlock(low, (4, 4, 4), 3), 3), ConvBlock(low, high, 3, side=2)),
        Level(ConditionalNormal(ConvBlock(high, (2, 8, 8), 3), 3), ConvBlock(high, high, 3, side=1)),
    ]
    likelihood = likelihoods.Bernoulli((1, 8, 8))
    return LadderVAE(priors.StandardNormal(2), MLP(2, low, (4,)), levels, likelihood, ConvBlock(high, (1, 8, 8), 3))


def latents(size=5):
    return {"z3": torch.randn(size, 2), "z2": torch.randn(size, 3), "z1": torch.randn(size, 4)}


def log_probs(model, x, z):
    trace = poutine.trace(poutine.condition(model, z)).get_trace(x=x)
    trace.compute_log_prob()
    return {name: trace.nodes[name]["log_prob"] for name in (*z, "x")}


def normal(params, z):
    loc, raw = params.chunk(2, -1)
    return dist.Normal(loc, (7 * torch.tanh(raw / 7)).exp()).log_prob(z).sum(-1)


def bernoulli(logits, x):
    return dist.Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3))


def test_the_chain_is_a_product_of_its_levels(chain):
    x, z = torch.rand(5, *SHAPE).round(), latents()
    first, second = chain.conditionals
    expected = {
        "z3": dist.Normal(0, 1).log_prob(z["z3"]).sum(-1),
        "z2": normal(first.network(z["z3"]), z["z2"]),
        "z1": normal(second.network(z["z2"]), z["z1"]),
        "x": bernoulli(chain.decoder(z["z1"]), x),
    }
    torch.testing.assert_close(log_probs(chain, x, z), expected)


def test_the_ladder_is_a_product_of_levels_that_see_all_above(ladder):
    x, z = torch.rand(5, *SHAPE).round(), latents()
    second, first = ladder.levels
    h2 = ladder.first(z["z3"])
    h1 = second.step(h2, z["z2"])
    expected = {
        "z3": dist.Normal(0, 1).log_prob(z["z3"]).sum(-1),
        "z2": normal(second.conditional.network(h2), z["z2"]),
        "z1": normal(first.conditional.network(h1), z["z1"]),
        "x": bernoulli(ladder.decoder(first.step(h1, z["z1"])), x),
    }
    torch.testing.assert_close(log_probs(ladder, x, z), expected)


def moved(model, level):
    """Whether p(x | z) changes when that latent alone does."""
    z = latents()
    other = z | {level: z[level] + 1}
    return not torch.allclose(decode(model, z), decode(model, other))


def test_x_sees_z1_alone_in_a_chain_and_all_levels_in_a_ladder(chain, ladder):
    assert [moved(chain, level) for level in ("z1", "z2", "z3")] == [True, False, False]
    assert [moved(ladder, level) for level in ("z1", "z2", "z3")] == [True, True, True]


@pytest.mark.parametrize("name", ["chain", "ladder", "conv"])
def test_it_draws_from_the_top_down_and_generates(name, request):
    model = request.getfixturevalue(name)
    trace = poutine.trace(model).get_trace(size=7)
    drawn = [n for n, site in trace.nodes.items() if site["type"] == "sample" and n != "data"]
    assert drawn == ["z3", "z2", "z1", "x"]
    x = trace.nodes["_RETURN"]["value"]
    assert x.shape == (7, *model.likelihood.event_shape)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert generate(model, 3).shape == (3, *model.likelihood.event_shape)
    for n in drawn:
        (frame,) = trace.nodes[n]["cond_indep_stack"]
        assert (frame.name, frame.dim, frame.size) == ("data", -1, 7)


def test_codes_of_the_lower_levels_are_drawn_where_they_are_not_given(ladder):
    top = {"z3": torch.randn(4, 2)}
    assert not torch.equal(decode(ladder, top, seed=0), decode(ladder, top, seed=1))
    assert torch.equal(decode(ladder, top, seed=1), decode(ladder, top, seed=1))


def test_a_path_between_codes_with_spatial_levels(conv):
    def guide(x):
        return poutine.block(poutine.uncondition(conv), hide=["x"])(size=len(x))

    codes = encode(conv, guide, {"x": torch.zeros(2, 1, 8, 8)}, mean=False)
    assert {name: tuple(z.shape[1:]) for name, z in codes.items()} == {"z3": (2,), "z2": (2, 4, 4), "z1": (1, 8, 8)}
    start, end = ({name: z[i] for name, z in codes.items()} for i in (0, 1))
    path = interpolate(conv, start, end, num_steps=3)
    assert path.shape == (3, 1, 8, 8)
    torch.testing.assert_close(path[[0, -1]], decode(conv, codes), rtol=1e-4, atol=1e-5)


def test_a_hierarchy_of_one_level(says):
    prior, likelihood, decoder = priors.StandardNormal(2), likelihoods.Bernoulli(SHAPE), MLP(2, SHAPE, ())
    with says(PairError, "HierarchicalVAE requires at least two latents", "conditionals=", "models.VAE"):
        HierarchicalVAE(prior, [], likelihood, decoder)
    with says(PairError, "LadderVAE requires at least two latents", "levels=", "models.VAE"):
        LadderVAE(prior, nn.Identity(), [], likelihood, decoder)


def test_a_hierarchy_says_how_its_latents_are_drawn(says):
    class Unfinished(Hierarchy):
        pass

    with says(TypeError, "Unfinished", "abstract", "top_down"):
        Unfinished()
