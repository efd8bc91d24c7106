"""Estimates of log p(x) on the layouts that a pair may have: plates, levels, latents that are summed out."""

import math
from contextlib import nullcontext

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.errors import PairError, ShapeError
from pyrovae.inference import evaluate, log_evidence
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.models import Program

# ------------------------------------------------------------------------------------ plates, scales, masks


def test_a_plate_of_covariates(ppca):
    """Five measurements of each data point in a plate at dim -2 have the same p(x) as a vector of five."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            z = z.squeeze(-3) if z.dim() > 2 else z  # (S, 1, B, 2) of vectorised samples
            with pyro.plate("measurements", 5, dim=-2):
                pyro.sample("x", dist.Normal(ppca.decode(z).mT, ppca.scale), obs=x.T)

    data = ppca.data(8)
    measured = evaluate(model, ppca.guide(), data, num_samples=4)
    torch.testing.assert_close(measured.per_datum["log_evidence"], ppca.evidence.log_prob(data["x"]))


class Regression(Program):
    """x = z + b + noise, with a global latent b outside the plate "data", which is subsampled."""

    def forward(self, x=None, *, size=None, data_size=None):
        rows = len(x) if size is None else size
        bias = pyro.sample("bias", dist.Normal(0.0, 2.0))
        with pyro.plate("data", data_size or rows, subsample_size=rows, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            return pyro.sample("x", dist.Normal(z + bias, 0.5), obs=x)


def regression_guide(x, data_size=None):
    pyro.sample("bias", dist.Normal(0.3, 0.4))
    with pyro.plate("data", data_size or len(x), subsample_size=len(x), dim=-1):
        pyro.sample("z", dist.Normal(0.5 * x, 0.6))


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 40])
def test_a_global_latent_is_shared_out_over_the_data(memory):
    """The ELBO of all data points, divided by their number, has one KL for the bias and a term for each data point."""
    x = torch.randn(60)
    measured = evaluate(Regression(), regression_guide, {"x": x}, num_samples=400, memory=memory)
    kl = torch.distributions.kl_divergence
    bias, z, unit = dist.Normal(0.3, 0.4), dist.Normal(0.5 * x, 0.6), dist.Normal(0.0, 1.0)
    rate = kl(bias, dist.Normal(0.0, 2.0)) / 60 + kl(z, unit).mean()
    squares = (x - 0.5 * x - 0.3).square() + 0.4**2 + 0.6**2
    distortion = (squares / (2 * 0.5**2) + math.log(0.5) + math.log(2 * math.pi) / 2).mean()
    for name, exact in (("rate", rate), ("distortion", distortion), ("elbo", -rate - distortion)):
        assert getattr(measured, name).value == pytest.approx(exact.item(), abs=0.05), name
    assert math.isnan(measured.log_evidence.value)


def test_no_data_point_has_an_evidence_with_a_global_latent(says):
    with says(PairError, "outside the plate 'data'", "pyro.condition"):
        log_evidence(Regression(), regression_guide, {"x": torch.randn(5)}, num_samples=3)


def test_a_scale_in_the_model_is_the_objectives_matter(ppca):
    data = ppca.data(6)
    scaled = evaluate(poutine.scale(ppca.model, 7.0), poutine.scale(ppca.guide(), 7.0), data, num_samples=3)
    torch.testing.assert_close(scaled.per_datum["log_evidence"], ppca.evidence.log_prob(data["x"]))


def test_a_mask_takes_its_entries_out(ppca):
    data = ppca.data(6)
    seen = torch.tensor([True, True, False, True, False, False])

    def model(x):
        with poutine.mask(mask=seen[: len(x)]):
            return ppca.model(x)

    def guide(x):
        with poutine.mask(mask=seen[: len(x)]):
            return ppca.guide()(x)

    measured = evaluate(model, guide, data, num_samples=3)
    expected = torch.where(seen, ppca.evidence.log_prob(data["x"]), 0.0)
    torch.testing.assert_close(measured.per_datum["log_evidence"], expected)


def test_a_batch_of_several_tensors(ppca):
    """A program gets only the tensors that it names."""

    def model(x, y):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z * y.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, 0.7).to_event(1))

    x, y = torch.randn(5, 1), torch.rand(5)
    measured = evaluate(model, guide, {"x": x, "y": y, "unused": torch.zeros(5)}, num_samples=20_000)
    exact = dist.Normal(0.0, (1 + y**2).sqrt()).log_prob(x.squeeze(-1))
    torch.testing.assert_close(measured.per_datum["log_evidence"].float(), exact, rtol=0, atol=0.05)


def test_the_shape_of_the_terms(ppca):
    terms = log_terms(ppca.model, ppca.guide(), ppca.data(4), 3)
    level = terms.levels["z"]
    parts = (terms.log_likelihood, *level, level.rate, terms.log_prior, terms.log_guide)
    assert all(term.shape == (3, 4) for term in parts)
    torch.testing.assert_close(terms.log_weight, terms.log_likelihood + terms.log_prior - terms.log_guide)


# ------------------------------------------------------------------ levels, and latents that are summed out


def test_the_rate_of_each_level():
    """Each rate of two normal levels has a closed form, and their sum is the rate."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z2 = pyro.sample("z2", dist.Normal(0.0, 1.0))
            z1 = pyro.sample("z1", dist.Normal(z2, 1.0))
            pyro.sample("x", dist.Normal(z1, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            z2 = pyro.sample("z2", dist.Normal(0.5 * x, 0.6))
            pyro.sample("z1", dist.Normal(z2 + 0.3, 0.7))

    x = torch.randn(40)
    measured = evaluate(model, guide, {"x": x}, num_samples=2000)
    kl = torch.distributions.kl_divergence
    exact = {
        "z2": kl(dist.Normal(0.5 * x, 0.6), dist.Normal(0.0, 1.0)).mean().item(),
        "z1": kl(dist.Normal(0.3, 0.7), dist.Normal(0.0, 1.0)).item(),
    }
    assert set(measured.rates) == set(exact)
    for name, value in exact.items():
        assert abs(measured.rates[name].value - value) < 5 * measured.rates[name].error
        assert measured.per_datum[f"rate_{name}"].shape == (40,)
    assert measured.rate.value == pytest.approx(sum(rate.value for rate in measured.rates.values()), rel=1e-5)
    assert [line.split()[:2] for line in str(measured).splitlines()[6:8]] == [["rate", "z2"], ["rate", "z1"]]


PROBS, CENTRES = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([-1.0, 0.4, 2.0]).double()


def test_an_enumerated_latent_alone_is_summed_out_exactly():
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            c = pyro.sample("c", dist.Categorical(PROBS), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(CENTRES[c], 0.7), obs=x)

    def guide(x):
        pass

    x = torch.randn(9).double()
    exact = (dist.Normal(CENTRES, 0.7).log_prob(x.unsqueeze(-1)) + PROBS.log()).logsumexp(-1)
    measured = evaluate(model, guide, {"x": x}, num_samples=3)
    torch.testing.assert_close(measured.per_datum["log_evidence"], exact)
    assert measured.rate.value == 0


def test_an_enumerated_latent_above_and_below_drawn_ones():
    """c decides the prior of z, and d the offset of x, so the prior of z is a mixture, and so is x given z."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            c = pyro.sample("c", dist.Categorical(PROBS), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(CENTRES[c], 0.5))
            d = pyro.sample("d", dist.Bernoulli(0.3 * torch.ones(()).double()), infer={"enumerate": "parallel"})
            with pyro.plate("measurements", 2, dim=-2):
                pyro.sample("x", dist.Normal(z + d + 0.1 * c, 0.7), obs=x.T)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.mean(-1), 0.6))

    x = torch.randn(4, 2).double()
    torch.manual_seed(1)
    pair = log_terms(model, guide, {"x": x}, 5, depth=2)
    torch.manual_seed(1)
    z = dist.Normal(x.mean(-1), 0.6).expand([5, 1, 4]).sample().squeeze(1)
    prior = (dist.Normal(CENTRES, 0.5).log_prob(z.unsqueeze(-1)) + PROBS.log()).logsumexp(-1)
    joint = []
    for c in range(3):
        for d in range(2):
            loc = z + d + 0.1 * c
            log_likelihood = dist.Normal(loc, 0.7).log_prob(x.T.unsqueeze(1)).sum(0)
            weight = PROBS[c].log() + math.log(0.3 if d else 0.7)
            joint.append(dist.Normal(CENTRES[c], 0.5).log_prob(z) + log_likelihood + weight)
    joint = torch.stack(joint).logsumexp(0)
    torch.testing.assert_close(pair.log_prior, prior)
    torch.testing.assert_close(pair.log_likelihood, joint - prior)
    torch.testing.assert_close(pair.log_guide, dist.Normal(x.mean(-1), 0.6).log_prob(z))


def test_a_guides_enumerated_latent_is_drawn():
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            c = pyro.sample("c", dist.Categorical(PROBS))
            pyro.sample("x", dist.Normal(CENTRES[c], 0.7), obs=x)

    def guide(x):
        logits = dist.Normal(CENTRES, 0.7).log_prob(x.unsqueeze(-1)) + PROBS.log()
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("c", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})

    x = torch.randn(9).double()
    exact = (dist.Normal(CENTRES, 0.7).log_prob(x.unsqueeze(-1)) + PROBS.log()).logsumexp(-1)
    torch.testing.assert_close(evaluate(model, guide, {"x": x}, num_samples=3).per_datum["log_evidence"], exact)


def undrawn(fn, infer, plate):
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            with pyro.plate("inner", 2, dim=-2) if plate else nullcontext():
                c = pyro.sample("c", fn, infer=infer)
            pyro.sample("x", dist.Normal(c.sum(-2) if plate else c, 1.0), obs=x)

    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (undrawn(dist.Normal(0.0, 1.0), {}, False), ("'c'", "enumerate", "guide")),
        (undrawn(dist.Poisson(2.0), {"enumerate": "parallel"}, False), ("'c'", "Poisson", "finite support")),
        (undrawn(dist.Bernoulli(0.5), {"enumerate": "parallel"}, True), ("'c'", "inner", "TraceEnum_ELBO")),
    ],
)
def test_latents_that_cannot_be_summed_out(model, words, says):
    with says(PairError, *words):
        evaluate(model, lambda x: None, {"x": torch.zeros(3)}, num_samples=2)


def test_a_site_that_counts_dimensions_from_the_left(says):
    """It is correct for one draw, but would mix several draws with the data points."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("parts", 3, dim=-2):
                pyro.sample("x", dist.Normal(torch.ones(3, 1) * z.unsqueeze(-2), 1.0), obs=x.T)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.mean(-1), 1.0))

    x = torch.randn(4, 3)
    assert evaluate(model, guide, {"x": x}, num_samples=1).elbo.value < 0
    with says(ShapeError, "'x'", "in a run of 2 draws", "unsqueeze"):
        evaluate(model, guide, {"x": x}, num_samples=5)
