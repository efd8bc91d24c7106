"""The ELBO, its weights and its closed forms, against Pyro's and by hand."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

from pyrovae.errors import PairError, SettingError
from pyrovae.inference import ELBO, Linear
from pyrovae.inference.pair.contract import local_params
from pyrovae.inference.pair.scoring import log_terms


@pytest.mark.parametrize("num_particles", [1, 5])
def test_the_elbo_is_pyros(ppca, num_particles, loss, learned):
    x, guide = ppca.data(6)["x"], ppca.guide(0.3, 1.2)
    theirs = Trace_ELBO(num_particles, max_plate_nesting=1, vectorize_particles=num_particles > 1)
    torch.manual_seed(1)
    wanted = theirs.differentiable_loss(ppca.model, guide, x)
    objective = learned(ELBO(num_particles), ppca.model, guide, x)
    torch.testing.assert_close(loss(objective, ppca.model, guide, x), wanted)


@pytest.mark.parametrize("num_particles", [1, 5])
def test_the_closed_form_is_pyros(num_particles, small, binary, loss):
    model, guide = small()
    x = binary()
    objective = ELBO(num_particles, analytic=True)
    loss(objective, model, guide, x)
    torch.manual_seed(1)
    with local_params(model, guide):
        theirs = TraceMeanField_ELBO(num_particles, max_plate_nesting=1, vectorize_particles=num_particles > 1)
        wanted = theirs.differentiable_loss(lambda: model(x), lambda: guide(x))
    torch.testing.assert_close(loss(objective, model, guide, x), wanted)


def test_weights_by_hand(ppca, loss, tracked):
    data, guide = ppca.data(6), ppca.guide(0.3, 1.2)
    terms = dict(zip("lr", parts(ppca.model, guide, data), strict=True))
    likelihood, rate = terms["l"], terms["r"]
    by_hand = {
        ELBO(kl_weight=4.0): likelihood - 4 * rate,
        ELBO(free_bits=50.0): likelihood - 50.0,
        ELBO(free_bits=0.01): likelihood - rate.mean(),
        ELBO(kl_weight=3.0, capacity=2.0): likelihood - 3 * (rate.mean() - 2).abs(),
        ELBO(kl_weight=Linear(0.5, 1.0, 10)): likelihood - 0.5 * rate,
        ELBO(site_weights={"x": 3.0}): 3 * likelihood - rate,
        ELBO(site_weights={"x": 0.5}, kl_weight=2.0): likelihood / 2 - 2 * rate,
        ELBO(log_prior=lambda: torch.tensor(1.5), kl_weight=2.0): likelihood + 1.5 - 2 * rate,
    }
    for objective, bound in by_hand.items():
        objective.loss(ppca.model, guide, data["x"])
        torch.testing.assert_close(loss(objective, ppca.model, guide, data["x"]), -bound.sum(), msg=repr(objective))
        elbo = tracked(objective, ppca.model, guide, data["x"])
        assert elbo == pytest.approx((likelihood - rate).mean().item(), rel=1e-5), objective


def parts(model, guide, data, num_samples=1):
    """Log-likelihood and rate, `(B,)`, of the draws that an objective makes after seed 1."""
    torch.manual_seed(1)
    terms = log_terms(model, guide, data, num_samples)
    return terms.log_likelihood.mean(0), (terms.log_guide - terms.log_prior).mean(0)


def test_free_bits_per_dimension_stop_the_gradient_of_idle_dimensions(idle_and_busy):
    """A dimension whose rate is below lambda costs lambda, and has no gradient; the other one has."""
    loc = torch.tensor([0.1, 3.0], requires_grad=True)
    model, guide = idle_and_busy(loc)
    objective = ELBO(free_bits=1.0, group="dimension", analytic=True)
    value = objective.loss(model, guide, torch.zeros(4))
    value.backward()
    log_likelihood = dist.Normal(0.0, 1.0).log_prob(torch.zeros(()))
    assert value.item() == pytest.approx(4 * (1.0 + 9 / 2 - log_likelihood).item())
    assert loc.grad[0] == 0
    assert loc.grad[1] == pytest.approx(4 * 3.0)


def test_arguments_that_make_no_sense(says):
    with says(PairError, "requires free_bits or capacity", "got both"):
        ELBO(free_bits=1.0, capacity=1.0)
    with says(PairError, "group='dimension'", "'level'"):
        ELBO(free_bits=1.0, group="level")
    with says(SettingError, "num_particles requires a whole number of at least 1, got 0"):
        ELBO(0)
    with says(SettingError, "log_prior", "function", "2.0"):
        ELBO(log_prior=2.0)
    for name in ("kl_weight", "free_bits", "capacity"):
        for wrong in (-1.0, math.nan, math.inf, "1"):
            with says(SettingError, name):
                ELBO(**{name: wrong})


@pytest.mark.parametrize("name", ["z", "y"])
def test_weights_are_of_observed_sites(name, ppca, loss, says):
    data, guide = ppca.data(6), ppca.guide(0.3, 1.2)
    with says(PairError, "observed sites", f"'{name}'", "x"):
        loss(ELBO(site_weights={name: 2.0}), ppca.model, guide, data["x"])


def test_weights_of_sites_under_a_latent_that_is_summed_out(loss, says):
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            c = pyro.sample("c", dist.Bernoulli(torch.tensor(0.3)), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(z + c, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, 1.0))

    with says(PairError, "draws each latent", "'c'", "site_weights"):
        loss(ELBO(site_weights={"x": 2.0}), model, guide, torch.randn(4))


def test_free_bits_per_dimension_require_a_product(ppca, says):
    with says(PairError, "ELBO(free_bits=..., group='dimension') requires", "MultivariateNormal", "group='site'"):
        ELBO(free_bits=1.0, group="dimension").loss(ppca.model, ppca.guide(), ppca.data(3)["x"])
