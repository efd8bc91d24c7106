"""The traces of a run, and what is read off their sites."""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine

from pyrovae.inference.pair.tracing import datum_first, innermost, sites, trace_pair, traces, unscaled_log_prob

SIZE, LATENT = 8, 2


def test_a_traced_pair(model, guide, batch):
    pair = trace_pair(model, guide, batch)
    inner, outer = pair.latent()["z"]
    assert inner["value"] is outer["value"]
    assert set(pair.observed()) == {"x"}
    assert pair.undrawn() == []


def test_further_arguments_reach_the_programs_that_name_them(guide, batch):
    def sized(x, data_size):
        with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(LATENT), 1.0).to_event(1))

    site = trace_pair(sized, guide, batch, data_size=80).model.nodes["z"]
    assert site["scale"] == 10


def test_programs_with_bound_arguments(model, guide, batch):
    pair = traces(lambda: model(batch["x"]), lambda: guide(batch["x"]))
    assert torch.equal(pair.guide.nodes["z"]["value"], pair.model.nodes["z"]["value"])


def test_a_latent_that_the_guide_does_not_draw(guide, batch):
    def labelled(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("k", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
            pyro.sample("z", dist.Normal(torch.zeros(LATENT), 1.0).to_event(1))

    pair = trace_pair(labelled, guide, batch)
    assert pair.undrawn() == ["k"]
    assert list(pair.latent()) == ["z"]


def test_subsampling_is_no_site():
    with poutine.trace() as tracer, pyro.plate("data", 9, subsample_size=3, dim=-1):
        pyro.sample("z", dist.Normal(0.0, 1.0))
    assert set(tracer.trace.nodes) >= {"data", "z"}
    assert list(sites(tracer.trace)) == ["z"]


def test_the_data_lead():
    with poutine.trace() as tracer:
        pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        with pyro.plate("data", 4, dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            with pyro.plate("columns", 3, dim=-2):
                pyro.sample("c", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    shared, outer, inner = (tracer.trace.nodes[name] for name in "wzc")
    assert datum_first(shared) is shared["value"]
    assert torch.equal(datum_first(outer), outer["value"])
    assert torch.equal(datum_first(inner), inner["value"].transpose(0, 1))


def test_unscaled_log_probabilities(guide, batch):
    mask = torch.arange(SIZE) < 3
    with poutine.trace() as tracer, poutine.scale(scale=9.0), poutine.mask(mask=mask):
        guide(batch["x"])
    site = tracer.trace.nodes["z"]
    expected = torch.where(mask, site["fn"].log_prob(site["value"]), 0.0)
    torch.testing.assert_close(unscaled_log_prob(site), expected)


def test_a_distribution_without_wrappers():
    normal = dist.Normal(torch.zeros(3), 1.0)
    flow = dist.TransformedDistribution(normal, [dist.transforms.ExpTransform()])
    assert innermost(normal.to_event(1).mask(torch.tensor(True))) is normal
    assert innermost(flow.to_event(1)) is flow.to_event(1).base_dist  # a transform is no wrapper
