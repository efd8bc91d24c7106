"""Handlers set the value of a site, in one program, and leave the others alone."""

from contextlib import nullcontext

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.errors import PairError
from pyrovae.inference.pair.handlers import ChangeDraws, PutMeans, PutValues
from pyrovae.models import priors

SIZE = 3


def program(x=None):
    with pyro.plate("data", SIZE, dim=-1):
        k = pyro.sample("k", dist.Categorical(torch.tensor([0.2, 0.5, 0.3])))
        z = pyro.sample("z", dist.Normal(k.double(), 2.0))
        return pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def values(handler=None, x=None):
    """A run with a handler around the trace, as `run_pair` has it."""
    with handler or nullcontext(), poutine.trace() as tracer:
        program(x)
    return {name: tracer.trace.nodes[name]["value"] for name in ("k", "z", "x")}


def test_a_value_in_place_of_a_draw():
    mine = torch.tensor([1.0, 2.0, 3.0]).double()
    put = values(PutValues(lambda site: mine if site["name"] == "z" else None))
    assert put["z"] is mine
    assert (put["x"] - mine).abs().max() < 6  # the sites below see it


def test_no_value_leaves_the_draws_alone():
    torch.manual_seed(0)
    alone = values()
    torch.manual_seed(0)
    assert all(torch.equal(value, alone[name]) for name, value in values(PutValues(lambda site: None)).items())


def test_a_value_at_an_observed_site():
    put = values(PutValues(lambda site: torch.ones(SIZE) if site["is_observed"] else None), x=torch.zeros(SIZE))
    assert (put["x"] == 1).all()


def test_means_and_the_most_probable_label():
    put = values(PutMeans(lambda _: True))
    assert (put["k"] == 1).all()
    assert put["k"].shape == (SIZE,)
    assert torch.equal(put["z"], torch.ones(SIZE).double())
    assert torch.equal(put["x"], put["z"])


def test_chosen_sites_alone_have_means():
    put = values(PutMeans(lambda name: name == "x"))
    assert torch.equal(put["x"], put["z"])
    assert not torch.equal(put["z"], put["k"].double())
    x = torch.randn(SIZE)
    assert torch.equal(values(PutMeans(lambda _: True), x=x)["x"], x)  # data are not replaced


@pytest.mark.parametrize(
    "fn",
    [
        priors.Flat(2)(),
        dist.TransformedDistribution(dist.Normal(0.0, 1.0), [dist.transforms.TanhTransform()]),
        dist.Cauchy(0.0, 1.0),
    ],
)
def test_a_distribution_without_a_mean(fn, says):
    with (
        says(PairError, "site 'z'", type(fn).__name__, "no mean in closed form", "mean=False"),
        PutMeans(lambda _: True),
    ):
        pyro.sample("z", fn)
    with says(PairError, "no mean in closed form. Give a code."), PutMeans(lambda _: True, "Give a code."):
        pyro.sample("z", fn)


def test_changed_draws():
    torch.manual_seed(0)
    alone = values()
    torch.manual_seed(0)
    changed = values(ChangeDraws(lambda site: site["value"] + 1))
    assert torch.equal(changed["k"], alone["k"] + 1)
    torch.testing.assert_close(changed["z"], alone["z"] + 2)  # its own 1, and that of the mean above
    x = torch.zeros(SIZE)
    assert values(ChangeDraws(lambda site: site["value"] + 1), x=x)["x"] is x
