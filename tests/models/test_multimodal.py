"""A model of several modalities: what is missing is left out, and has no effect."""

import pytest
import torch
from pyro import poutine

from pyrovae.errors import PairError, SettingError, ShapeError
from pyrovae.guides import ExpertsGuide
from pyrovae.inference import check_pair, evaluate, fit, generate
from pyrovae.inference.pair.contract import call, takes
from pyrovae.models import MultimodalVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

PARTS = {"x": likelihoods.Bernoulli(6), "y": likelihoods.Label(3), "w": likelihoods.LogNormal(2)}


@pytest.fixture
def model():
    """A vector of bits, a label, and two positive numbers."""
    decoders = {name: MLP(2, part.params_shape, (5,)) for name, part in PARTS.items()}
    return MultimodalVAE(priors.StandardNormal(2), PARTS, decoders)


@pytest.fixture
def guide():
    encoders = {"x": MLP(6, 4, (5,)), "y": JointMLP([3], 4, (5,)), "w": MLP(2, 4, (5,))}
    return ExpertsGuide(encoders)


@pytest.fixture
def batch():
    return {"x": torch.rand(4, 6).round(), "y": torch.tensor([0, 1, 2, 0]), "w": torch.rand(4, 2) + 0.1}


def scored(model, z, **batch):
    """log p(x_S, z) of each data point."""
    with poutine.trace() as tracer, poutine.condition(data={"z": z}):
        model(**batch)
    tracer.trace.compute_log_prob()
    return sum(s["log_prob"] for s in tracer.trace.nodes.values() if s["type"] == "sample" and s["name"] != "data")


def test_the_joint_is_the_product_of_its_parts(model, batch):
    z = torch.randn(4, 2)
    log_prior = model.prior().log_prob(z)
    each = {n: PARTS[n](model.decoders[n](z)).log_prob(batch[n]) for n in PARTS}
    torch.testing.assert_close(scored(model, z, **batch), log_prior + sum(each.values()))
    has = torch.tensor([True, False, True, False])
    wanted = log_prior + each["x"] + torch.where(has, each["y"], 0)
    torch.testing.assert_close(scored(model, z, x=batch["x"], y=batch["y"], has_y=has), wanted)


def test_what_is_missing_has_no_effect(model, batch):
    """Not in the value and not in a gradient: not even NaN, or a number without a density."""
    z, has = torch.randn(4, 2), torch.tensor([True, False, True, False])
    found = []
    for hidden in (1.0, torch.nan, -5.0):
        w = torch.where(has[:, None], batch["w"], hidden)
        model.zero_grad()
        total = scored(model, z, **batch | {"w": w}, has_w=has).sum()
        total.backward()
        found.append([total.detach(), *(p.grad.clone() for p in model.decoders["w"].parameters())])
        assert all(part.isfinite().all() for part in found[-1])
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            assert torch.equal(ours, theirs)


def test_tools_take_nan_where_a_modality_is_missing(model, guide, batch):
    has = torch.tensor([True, True, True, False])
    hidden = batch | {"w": torch.where(has[:, None], batch["w"], torch.nan), "has_w": has}
    check_pair(model, guide, hidden)
    nothing = evaluate(model, guide, hidden, num_samples=20).per_datum["elbo"]
    filled = evaluate(model, guide, batch | {"has_w": has}, num_samples=20).per_datum["elbo"]
    assert torch.equal(nothing, filled)
    fit(model, guide, hidden, epochs=1, batch_size=2, compile=False)


def test_it_generates_what_it_is_not_given(model, batch):
    assert model(size=5).shape == (5, 6)
    assert generate(model, 5, site="y").shape == (5,)
    assert generate(model, 4, given={"y": batch["y"]}, site="w").shape == (4, 2)
    with poutine.trace() as tracer:
        model(y=batch["y"])
    assert {"x", "w"}.isdisjoint(tracer.trace.nodes)


def test_its_arguments_are_its_modalities(model, batch):
    assert takes(model, "has_w")
    assert not takes(model, "v")
    extra = {**batch, "v": torch.zeros(4)}
    assert call(model, extra).shape == (4, 6)
    assert repr(model.likelihood) == repr(PARTS["x"])


def test_unknown_modalities(model, guide, batch, says):
    for program, name in ((model, "MultimodalVAE"), (guide, "ExpertsGuide")):
        with says(PairError, name, "named x, y, w", "has_x", "'v'"):
            program(**batch, v=torch.zeros(4))
        with says(PairError, name, "requires one of x, y, w", "got none"):
            program()


@pytest.mark.parametrize("shape", [(4, 1), (3,)])
def test_flags_of_another_shape(model, guide, batch, shape, says):
    for program in (model, guide):
        with says(ShapeError, "has_y of shape (4,)", str(shape), "torch.ones"):
            program(**batch, has_y=torch.ones(shape, dtype=torch.bool))


@pytest.mark.parametrize("names", [["z"], ["size"], ["x", "has_x"], []])
def test_names_that_are_taken(names, says):
    parts = {name: likelihoods.Bernoulli(2) for name in names}
    with says(SettingError, "modalities" if names else "names"):
        MultimodalVAE(priors.StandardNormal(2), parts, {name: MLP(2, 2) for name in names})


def test_a_likelihood_without_a_decoder(says):
    with says(SettingError, "one set of names", "['x']", "['y']"):
        MultimodalVAE(priors.StandardNormal(2), {"x": likelihoods.Bernoulli(2)}, {"y": MLP(2, 2)})
