"""Models of counts that are the parts of a total, and their guides."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import nn

from pyrovae.errors import DataError, NonFiniteError, PairError, SupportError
from pyrovae.guides import CountGuide, NormalGuide, SemiSupervisedCountGuide
from pyrovae.inference import Supervised, accuracy, decode, diagnose, evaluate, fit, posterior
from pyrovae.models import ConditionalNormal, CountVAE, SemiSupervisedCountVAE, likelihoods, priors
from pyrovae.networks import MLP, JointMLP, NormedMLP

GENES, LATENT = 6, 2


def pair(*, batches=2, total=None, **options):
    likelihood = likelihoods.NegativeBinomial(GENES, shares=True, **options)
    decoder = JointMLP([LATENT, batches], GENES, (5,))
    encoder, totals = JointMLP([GENES, batches], 2 * LATENT, (5,)), JointMLP([GENES, batches], 2, (5,))
    model = CountVAE(priors.StandardNormal(LATENT), likelihood, decoder, total)
    return model, CountGuide(NormalGuide(encoder), None if total is None else totals)


def cells(size=8):
    x = torch.poisson(torch.full((size, GENES), 4.0)) + 1
    return {"x": x, "total": x.sum(-1), "batch": torch.arange(size) % 2}


def scored(model, batch, z):
    with poutine.trace() as tracer, poutine.condition(data={"z": z}):
        model(**batch)
    tracer.trace.compute_log_prob()
    return tracer.trace


def test_the_density_is_its_formula():
    (model, _), batch, z = pair(batches=2), cells(), torch.randn(8, LATENT)
    trace = scored(model, batch, z)
    share = model.decoder(z, batch["batch"]).softmax(-1)
    mean, r = batch["total"].unsqueeze(-1) * share, torch.ones(GENES)
    known = dist.NegativeBinomial(r, logits=mean.log()).log_prob(batch["x"]).sum(-1)
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], known, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], dist.Normal(0, 1).log_prob(z).sum(-1))
    assert "total" not in trace.nodes


def test_the_batch_does_not_enter_the_prior_of_the_code():
    (model, guide), batch, z = pair(), cells(), torch.randn(8, LATENT)
    one, other = (scored(model, batch | {"batch": s}, z) for s in (batch["batch"], 1 - batch["batch"]))
    torch.testing.assert_close(one.nodes["z"]["log_prob"], other.nodes["z"]["log_prob"], rtol=0, atol=0)
    assert (one.nodes["x"]["log_prob"] != other.nodes["x"]["log_prob"]).all()
    assert guide.guide.given(batch["x"].log1p(), batch["batch"]).batch_shape == (8,)


def test_a_total_is_conditioned_on_a_latent_or_observed():
    prior = priors.LogNormalTotal(2)
    (model, guide), batch = pair(total=prior), cells()
    prior.start(batch["total"], batch["batch"])
    given, z = {n: t for n, t in batch.items() if n != "total"}, torch.randn(8, LATENT)
    latent, observed = scored(model, given, z), scored(model, batch, z)
    assert not latent.nodes["total"]["is_observed"]
    logs = batch["total"].log()
    loc, scale = (torch.stack([f(logs[:, None][batch["batch"] == s]) for s in (0, 1)]) for f in (torch.mean, spread))
    known = dist.LogNormal(loc[batch["batch"]], scale[batch["batch"]]).log_prob(batch["total"])
    torch.testing.assert_close(observed.nodes["total"]["log_prob"], known)
    for names, data in (({"z", "total"}, given), ({"z"}, batch)):
        with poutine.trace() as tracer:
            guide(**data)
        assert names == {name for name, site in tracer.trace.nodes.items() if site["type"] == "sample"} - {"data"}
        assert math.isfinite(evaluate(model, guide, data, num_samples=4).elbo.value)


def spread(values):
    return values.std(correction=0)


def test_the_guide_of_a_total_starts_at_the_sum_of_the_counts():
    _, guide = pair(total=priors.LogNormalTotal(2))
    batch = cells()
    with torch.no_grad():
        for parameter in guide.total_encoder.parameters():
            parameter.zero_()
    with poutine.trace() as tracer:
        guide(batch["x"], batch["batch"])
    torch.testing.assert_close(tracer.trace.nodes["total"]["fn"].base_dist.loc, batch["total"].log())


def test_it_generates_with_a_total_of_its_own_or_a_given_one():
    assert pair(total=priors.LogNormalTotal(2))[0](batch=torch.tensor([0, 1, 1])).shape == (3, GENES)
    model, _ = pair()
    x = decode(model, {"z": torch.zeros(3, LATENT)}, given={"batch": torch.tensor([0, 1, 1]), "total": torch.ones(3)})
    torch.testing.assert_close(x.sum(-1), torch.ones(3))


def test_what_it_refuses(says):
    with says(PairError, "shares", "NegativeBinomial(genes, shares=True)"):
        CountVAE(priors.StandardNormal(LATENT), likelihoods.Poisson(GENES), MLP(LATENT, GENES))
    (model, guide), batch = pair(), cells()
    with says(PairError, "total", "x.sum(-1)"):
        model(batch["x"], batch["batch"])
    with says(SupportError, "'batch'", "{0, ..., 1}", "got 2"):
        fit(model, guide, batch | {"batch": torch.arange(8) % 3}, epochs=1, progress=False)
    with says(SupportError, "{0, 1, 2, ...}", "-1"):
        evaluate(model, guide, batch | {"x": -batch["x"]}, num_samples=2)
    with says(SupportError, "{0, 1, 2, ...}", ".5 at site"):
        evaluate(model, guide, batch | {"x": batch["x"] + 0.5}, num_samples=2)
    empty = batch["x"].clone()
    empty[3] = 0
    with says(SupportError, "1 of 8 data points"):
        fit(model, guide, batch | {"x": empty}, epochs=1, progress=False)
    with says(NonFiniteError, "NaN"):
        evaluate(model, guide, batch | {"x": batch["x"] / 0 * 0}, num_samples=2)


def test_the_prior_of_totals(says):
    prior = priors.LogNormalTotal(2)
    with says(SupportError, "above 0"):
        prior.start(torch.tensor([0.0, 1.0]), torch.tensor([0, 1]))
    with says(DataError, "batch 1", "LogNormalTotal(1)"):
        prior.start(torch.tensor([2.0, 1.0]), torch.tensor([0, 0]))
    one = priors.LogNormalTotal()
    one.start(torch.tensor([1.0, math.e**2]))
    assert (one().loc.item(), one().scale.item()) == (pytest.approx(1), pytest.approx(1))
    assert repr(prior) == "LogNormalTotal(batches=2)"


@pytest.fixture
def labelled():
    """Cells of two types that differ in every gene, 10 of 200 with a label."""
    y = torch.arange(200) % 2
    rate = torch.where(y[:, None] == torch.arange(GENES) % 2, 12.0, 2.0)
    x = torch.poisson(rate) + (torch.arange(GENES) == 0)
    return {"x": x, "total": x.sum(-1), "y": y}, torch.where(torch.arange(200) < 10, y, -1)


def few_labels():
    likelihood = likelihoods.NegativeBinomial(GENES, shares=True)
    conditional = ConditionalNormal(JointMLP([LATENT, 2], 2 * LATENT, (8,)))
    parts = likelihood, MLP(LATENT, GENES, (8,)), 2
    model = SemiSupervisedCountVAE(priors.StandardNormal(LATENT), conditional, *parts)
    guide = NormalGuide(MLP(GENES, 2 * LATENT, (16,))), NormalGuide(JointMLP([LATENT, 2], 2 * LATENT, (8,)))
    return model, SemiSupervisedCountGuide(MLP(LATENT, 2, (8,)), *guide)


@pytest.mark.slow
def test_few_labels_tell_all_types(labelled):
    batch, told = labelled
    model, guide = few_labels()
    settings = {"epochs": 30, "batch_size": 100, "optim": (torch.optim.Adam, {"lr": 2e-2}), "progress": False}
    fit(model, guide, batch | {"y": told}, loss=Supervised(20.0), compile=False, **settings)
    assert accuracy(model, guide, batch) > 0.95
    assert repr(model).startswith("SemiSupervisedCountVAE")


def test_summing_the_label_out_is_the_mean_over_labels():
    """The enumerated bound is the average of the bounds given each label, weighted by q(y | z), plus an entropy."""
    model, guide = few_labels()
    batch = {n: t for n, t in cells().items() if n != "batch"}
    frozen = poutine.infer_config(guide, lambda site: {"enumerate": "parallel"} if site["name"] == "y" else {})
    torch.manual_seed(3)
    bound = -TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(model, frozen, **batch)
    torch.manual_seed(3)
    with poutine.trace() as tracer, poutine.enum(first_available_dim=-2):
        frozen(**batch)
    with poutine.trace() as other, poutine.replay(trace=tracer.trace), poutine.enum(first_available_dim=-2):
        model(**batch)
    q, p = tracer.trace, other.trace
    q.compute_log_prob(), p.compute_log_prob()
    logits = guide.classifier(q.nodes["z"]["value"]).log_softmax(-1).T  # (K, B)
    each = sum(p.nodes[name]["log_prob"] for name in ("y", "u", "z", "x"))
    each = each - q.nodes["z"]["log_prob"] - q.nodes["u"]["log_prob"] - logits
    torch.testing.assert_close(bound, (logits.exp() * each).sum(), rtol=1e-4, atol=1e-3)
    assert p.nodes["x"]["log_prob"].shape == (8,)  # decoded once, not once for each label


def test_diagnose_and_posterior():
    (model, guide), batch = pair(total=priors.LogNormalTotal(2)), cells(12)
    batch.pop("total")
    model.total_prior.start(batch["x"].sum(-1), batch["batch"])
    draws = posterior(model, guide, batch, 5)
    assert {"z", "total"} <= set(draws.latents)
    found = diagnose(model, guide, batch, num_samples=50)
    assert "z" in str(found)
    assert "simulated as given" in found.absent["data conflict"]


def test_a_network_with_batch_normalisation_takes_leading_dimensions():
    net = NormedMLP([LATENT, 3], 4, [5, 6], dropout=0.5)
    z, batch = torch.randn(2, 7, LATENT), torch.arange(7) % 3
    assert net(z, batch).shape == (2, 7, 4)
    net.eval()
    torch.testing.assert_close(net(z, batch)[1], net(z[1], batch))
    by_hand = nn.functional.relu(net.layers[0](net.inputs(z[0], batch)))
    by_hand = nn.functional.relu(net.layers[4](net.layers[3](by_hand)))
    torch.testing.assert_close(net(z[0], batch), net.head(by_hand))
    net.start_at(torch.arange(4.0))
    assert (net(torch.zeros(1, LATENT), torch.tensor([0])) - torch.arange(4.0)).abs().max() < 0.5
    assert not list(pyro.get_param_store())
