"""Terms of a log-weight: each is that of a direct computation, per draw and data point."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.pair.handlers import PutValues
from pyrovae.inference.pair.scoring import (
    LatentTerms,
    Layout,
    Terms,
    depth_of,
    layout,
    log_terms,
    run_pair,
    samples_plate,
    spread,
    summed_out,
    terms_of,
)
from pyrovae.inference.pair.tracing import trace_pair

SIZE = 4
PROBS, CENTRES = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([-1.0, 0.0, 2.0]).double()


def drawn(fn):
    """A guide that draws z from a distribution, or nothing."""

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            return fn and pyro.sample("z", fn)

    return guide


def labelled(x):
    """p(c) p(z | c) p(x | z): a label that is summed out, and a latent below it."""
    with pyro.plate("data", len(x), dim=-1):
        c = pyro.sample("c", dist.Categorical(PROBS), infer={"enumerate": "parallel"})
        z = pyro.sample("z", dist.Normal(CENTRES[c], 1.0))
        pyro.sample("x", dist.Normal(z, 0.5), obs=x)


def shared(x, data_size):
    """p(w) prod_n p(z_n) p(x_n | z_n, w), with w outside the plate."""
    w = pyro.sample("w", dist.Normal(torch.zeros(()).double(), 1.0))
    with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(()).double(), 1.0))
        pyro.sample("x", dist.Normal(z + w, 0.5), obs=x)


def shared_guide(x, data_size):
    pyro.sample("w", dist.Normal(torch.ones(()).double(), 0.5))
    with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
        pyro.sample("z", dist.Normal(x, 1.0))


def inner_plate(x):
    """Three covariates, independent given z."""
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(()).double(), 1.0))
        with pyro.plate("columns", 3, dim=-2):
            pyro.sample("x", dist.Normal(z, 0.5), obs=x.T)


# ------------------------------------------------------------------------------------------ closed forms


def test_the_weights_of_the_exact_posterior_are_the_evidence(ppca):
    data = ppca.data(SIZE)
    terms = log_terms(ppca.model, ppca.guide(), data, 5)
    assert terms.log_weight.shape == (5, SIZE)
    torch.testing.assert_close(terms.log_weight, ppca.evidence.log_prob(data["x"]).expand(5, SIZE))
    torch.testing.assert_close(terms.levels["z"].rate, terms.log_guide - terms.log_prior)


def test_each_term_is_that_of_a_run_alone(ppca):
    data, guide = ppca.data(SIZE), ppca.guide(0.5, 1.5)
    pair = run_pair(partial(ppca.model, data["x"]), partial(guide, data["x"]), 3)
    terms = terms_of(pair, (3, SIZE), 1, None)
    for draw, z in enumerate(pair.guide.nodes["z"]["value"]):
        conditioned = poutine.trace(poutine.condition(ppca.model, {"z": z})).get_trace(data["x"])
        conditioned.compute_log_prob()
        torch.testing.assert_close(terms.log_prior[draw], conditioned.nodes["z"]["log_prob"])
        torch.testing.assert_close(terms.log_likelihood[draw], conditioned.nodes["x"]["log_prob"])


def test_an_enumerated_latent_is_summed_out():
    x = torch.randn(SIZE).double()
    guide = drawn(dist.Normal(torch.zeros(()).double(), 2.0))
    pair = run_pair(partial(labelled, x), partial(guide, x), 3)
    terms, z = terms_of(pair, (3, SIZE), 1, None), pair.guide.nodes["z"]["value"]
    mixture = dist.MixtureSameFamily(dist.Categorical(PROBS), dist.Normal(CENTRES, 1.0))
    torch.testing.assert_close(terms.log_prior, mixture.log_prob(z))
    torch.testing.assert_close(terms.log_likelihood, dist.Normal(z, 0.5).log_prob(x))
    assert list(terms.levels) == ["z"]


def test_terms_of_the_chain_rule_add_up():
    torch.manual_seed(0)
    joint = {"c": torch.randn(3, 1, 1), "a": torch.randn(1, 2, 4), "z": torch.randn(3, 2, 4), "x": torch.randn(3, 2, 4)}
    joint["c"] = joint["c"].log_softmax(0)
    joint["a"] = joint["a"][0]
    terms = summed_out(joint, ["c"])
    assert list(terms) == ["a", "z", "x"]
    assert terms["a"] is joint["a"]  # it does not depend on c
    torch.testing.assert_close(terms["z"] + terms["x"], (joint["c"] + joint["z"] + joint["x"]).logsumexp(0))
    assert summed_out(joint, []) is joint


def test_each_data_point_has_a_share_of_a_latent_of_all():
    x = torch.randn(SIZE).double()
    run = {"x": x, "data_size": 100}
    pair = run_pair(partial(shared, **run), partial(shared_guide, **run), 3)
    terms, w = terms_of(pair, (3, SIZE), 1, 100), pair.guide.nodes["w"]["value"]
    share = dist.Normal(0.0, 1.0).log_prob(w) / 100
    torch.testing.assert_close(terms.levels["w"].log_prior, share.expand(3, SIZE))


def test_inner_plates_are_summed():
    x = torch.randn(SIZE, 3).double()
    pair = run_pair(partial(inner_plate, x), partial(drawn(dist.Normal(torch.zeros(()).double(), 1.0)), x), 2, 2)
    terms, z = terms_of(pair, (2, SIZE), 2, None), pair.guide.nodes["z"]["value"].reshape(2, SIZE)
    torch.testing.assert_close(terms.log_likelihood, dist.Normal(z.unsqueeze(-1), 0.5).log_prob(x).sum(-1))
    site = pair.model.nodes["x"]
    whole = spread(site["fn"].log_prob(site["value"]), site, (2, SIZE), 2, None)
    torch.testing.assert_close(whole, terms.log_likelihood)


def test_the_weight_is_likelihood_and_prior_less_the_guide():
    one, two = (LatentTerms(torch.randn(2, SIZE), torch.randn(2, SIZE)) for _ in range(2))
    terms = Terms(torch.randn(2, SIZE), {"a": one, "b": two})
    torch.testing.assert_close(terms.log_weight, terms.log_likelihood - one.rate - two.rate)
    alone = Terms(terms.log_likelihood, {})
    assert torch.equal(alone.log_weight, terms.log_likelihood)


# ------------------------------------------------------------------------------------------------ layouts


def test_layouts(ppca):
    assert layout(trace_pair(ppca.model, ppca.guide(), ppca.data(SIZE))) == Layout(1, False)
    x = torch.randn(SIZE).double()
    assert layout(trace_pair(shared, shared_guide, {"x": x}, data_size=9)) == Layout(1, True)
    pair = trace_pair(inner_plate, drawn(dist.Normal(0.0, 1.0)), {"x": torch.randn(SIZE, 3).double()})
    assert layout(pair) == Layout(2, False)
    assert depth_of(pair.model) == 2
    assert depth_of(pair.guide) == 1


def test_one_draw_opens_no_plate(ppca):
    for num_samples, shape in ((1, ()), (3, (3, 1, 1))):
        with samples_plate(num_samples, 2):
            assert pyro.sample("z", dist.Normal(0.0, 1.0)).shape == shape


def test_handlers_see_one_program_each(ppca):
    x, inside, outside = ppca.data(SIZE)["x"], [], []
    seen = {"in_guide": PutValues(lambda site: inside.append(site["name"]))}
    seen["in_model"] = PutValues(lambda site: outside.append(site["name"]))
    run_pair(partial(ppca.model, x), partial(ppca.guide(), x), **seen)
    assert inside == ["z"]
    assert outside == ["z", "x"]


# ------------------------------------------------------------------------------------------------- errors


def undrawn(fn, infer, plate=False):
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            if plate:
                with pyro.plate("inner", 2, dim=-2):
                    pyro.sample("c", fn, infer=infer)
            else:
                pyro.sample("c", fn, infer=infer)
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (undrawn(dist.Normal(0.0, 1.0), {}), ("'c'", "got a guide that has no site 'c'", "enumerate")),
        (undrawn(dist.Poisson(2.0), {"enumerate": "parallel"}), ("'c'", "Poisson", "finite support")),
        (undrawn(dist.Bernoulli(0.5), {"enumerate": "parallel"}, True), ("'c'", "['data', 'inner']", "TraceEnum_ELBO")),
    ],
)
def test_a_latent_that_cannot_be_summed_out(model, words, says):
    with says(PairError, *words):
        layout(trace_pair(model, drawn(None), {"x": torch.zeros(3)}))


def test_dimensions_left_of_the_draws(says):
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(0).expand(2, *z.shape), 1.0), obs=x)

    x = torch.zeros(SIZE)
    pair = run_pair(partial(model, x), partial(drawn(dist.Normal(0.0, 1.0)), x), 5)
    with says(ShapeError, "site 'x'", "in a run of 5 draws", "dim=-2", f"(2, 5, {SIZE})", "unsqueeze"):
        terms_of(pair, (5, SIZE), 1, None)
