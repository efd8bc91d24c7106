"""Weighted bounds against the exact evidence, and wake-sleep against an exact posterior."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import RenyiELBO

from pyrovae.errors import PairError, SettingError
from pyrovae.inference import ELBO, IWAE, Renyi, WakeSleep
from pyrovae.inference.pair.scoring import log_terms


@pytest.mark.parametrize("gradient", ["plain", "stl", "dreg"])
def test_free_bits_of_the_weighted_bound_push_idle_dimensions_up_to_them(gradient, idle_and_busy):
    """The loss is more by lambda - loc^2 / 2 for the idle dimension, and so is its gradient, by -loc."""
    loc, losses, gradients = torch.tensor([0.1, 3.0], requires_grad=True), [], []
    model, guide = idle_and_busy(loc)
    for free_bits in (0.0, 1.0):
        objective = IWAE(3, gradient=gradient, free_bits=free_bits)
        objective.loss(model, guide, torch.zeros(4))
        torch.manual_seed(1)
        value = objective.loss(model, guide, torch.zeros(4))
        losses.append(value.item())
        gradients.append(torch.autograd.grad(value, loc)[0])
    assert losses[1] - losses[0] == pytest.approx(4 * (1.0 - 0.1**2 / 2), abs=1e-4)
    torch.testing.assert_close(gradients[1] - gradients[0], torch.tensor([-4 * 0.1, 0.0]), rtol=1e-3, atol=1e-4)


def test_free_bits_of_the_weighted_bound_require_a_product(ppca, says):
    with says(PairError, "IWAE(free_bits=...) requires a product over dimensions", "MultivariateNormal"):
        IWAE(3, free_bits=1.0).loss(ppca.model, ppca.guide(), ppca.data(4)["x"])


def test_the_bound_of_one_draw_is_the_elbo(ppca, loss):
    x, guide = ppca.data(6)["x"], ppca.guide(0.3, 1.2)
    values = []
    for objective in (ELBO(), IWAE(1), IWAE(1, gradient="stl"), IWAE(1, gradient="dreg"), Renyi(0.3, 1)):
        objective.loss(ppca.model, guide, x)
        values.append(loss(objective, ppca.model, guide, x))
    for value in values[1:]:
        torch.testing.assert_close(value, values[0])


def test_the_bound_rises_to_the_evidence(ppca, loss):
    data, guide = ppca.data(300), ppca.guide(0.3, 1.3)
    exact = ppca.evidence.log_prob(data["x"]).mean().item()
    bounds = [-loss(IWAE(s), ppca.model, guide, data["x"]).item() / 300 for s in (1, 4, 16, 256)]
    assert bounds == sorted(bounds)
    assert bounds[-1] < exact + 0.02
    assert bounds[-1] == pytest.approx(exact, abs=0.02)


def test_weights_are_formed_per_datum(ppca, loss):
    """The bound is the sum over data points of log-means over draws; Pyro's, of a scaled plate, is another number."""
    data, guide = ppca.data(6), ppca.guide(0.3, 1.3)
    objective = IWAE(4)
    objective.loss(ppca.model, guide, data["x"])
    torch.manual_seed(1)
    log_weight = log_terms(ppca.model, guide, data, 4).log_weight
    by_hand = sum(log_weight[:, b].exp().mean().log() for b in range(6))
    torch.testing.assert_close(loss(objective, ppca.model, guide, data["x"]), -by_hand)

    def ten_times(program):
        return lambda x: poutine.scale(program, 10.0)(x)

    torch.manual_seed(1)
    pyros = RenyiELBO(alpha=0, num_particles=4, vectorize_particles=True, max_plate_nesting=1)
    trapped = pyros.loss(ten_times(ppca.model), ten_times(guide), data["x"])
    assert abs(trapped + 10 * by_hand) > 1


@pytest.mark.parametrize("alpha", [1 - 1e-6, 1 + 1e-6])
def test_renyi_near_one_is_the_elbo(ppca, alpha, loss, learned):
    x, guide = ppca.data(6)["x"], ppca.guide(0.3, 1.3)
    near, at = (loss(learned(o, ppca.model, guide, x), ppca.model, guide, x) for o in (Renyi(alpha, 8), Renyi(1, 8)))
    torch.testing.assert_close(near, at, rtol=1e-4, atol=0)
    torch.testing.assert_close(at, loss(learned(ELBO(8), ppca.model, guide, x), ppca.model, guide, x))


def test_renyi_at_zero_is_the_importance_weighted_bound(ppca, loss, learned):
    x, guide = ppca.data(6)["x"], ppca.guide(0.3, 1.3)
    zero, iwae = (loss(learned(o, ppca.model, guide, x), ppca.model, guide, x) for o in (Renyi(0, 8), IWAE(8)))
    torch.testing.assert_close(zero, iwae)
    bounds = [-loss(learned(Renyi(a, 8), ppca.model, guide, x), ppca.model, guide, x).item() for a in (-1, 0, 0.5, 2)]
    assert bounds == sorted(bounds, reverse=True)


def test_renyi_at_minus_infinity_is_the_largest_weight(ppca, loss, learned):
    x, guide = ppca.data(6)["x"], ppca.guide(0.3, 1.3)
    best, near = (loss(learned(Renyi(a, 8), ppca.model, guide, x), ppca.model, guide, x) for a in (-math.inf, -1e5))
    torch.testing.assert_close(best, near, rtol=1e-3, atol=0)


def test_wake_sleep_learns_the_posterior_of_a_discrete_latent(mixture):
    pair = mixture
    objective = WakeSleep(400)
    optimizer = torch.optim.Adam([pair.table], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        objective.differentiable_loss(pair.model, pair.guide, pair.x).backward()
        optimizer.step()
    torch.testing.assert_close(pair.table.softmax(-1), pair.posterior(), rtol=0, atol=0.03)


def test_wake_sleep_follows_the_model_of_the_bound(ppca, loss, learned):
    """Its value is the importance-weighted bound, and so is its gradient for the model."""
    offset = torch.zeros(5).double().requires_grad_()
    x, guide = ppca.data(6)["x"], ppca.guide(0.3, 1.2)

    def model(x):
        return ppca.model(x - offset)

    results = []
    for objective in (WakeSleep(5), IWAE(5)):
        value = loss(learned(objective, model, guide, x), model, guide, x)
        results.append((value, torch.autograd.grad(value, offset)[0]))
    torch.testing.assert_close(*results)


def test_a_flow_without_an_inverse(ppca, says):
    """It has a density at its own draws alone: enough for the plain gradient, not for those through the draws."""
    flow = dist.transforms.Planar(2).double()

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            base = dist.Normal(torch.zeros(len(x), 2).double(), 1.0).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(base, [flow]))

    x = ppca.data(3)["x"]
    assert IWAE(3).loss(ppca.model, guide, x).isfinite()
    with says(PairError, "'z'", "no inverse", "IWAE(3)"):
        IWAE(3, gradient="dreg").loss(ppca.model, guide, x)


def test_arguments_that_make_no_sense(says):
    for wrong in (0, 1.5, True):
        with says(SettingError, "num_particles", "at least 1"):
            IWAE(wrong)
    for wrong in (math.nan, math.inf):
        with says(SettingError, "alpha"):
            Renyi(wrong, 5)
    with says(PairError, "num_particles >= 2", "got 1", "WakeSleep(num_particles=10)"):
        WakeSleep(1)
    with says(PairError, "'dreg'", "'no'"):
        IWAE(2, gradient="no")
