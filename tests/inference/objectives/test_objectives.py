"""Objectives, against closed forms: exact evidence, exact posteriors, values made by hand."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import nn

from pyrovae.errors import CheckpointError, PairError
from pyrovae.guides import NormalGuide
from pyrovae.inference import (
    ELBO,
    IWAE,
    MMD,
    SVI,
    BetaTCVAE,
    Cyclical,
    Linear,
    Renyi,
    WakeSleep,
    fit,
)
from pyrovae.inference.objectives.aggregate import mean_discrepancy
from pyrovae.inference.pair.contract import local_params
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.models import VAE, Program, likelihoods, priors
from pyrovae.networks.dense import MLP


def small(latent=2):
    """A dense pair on eight binary data."""
    model = VAE(priors.StandardNormal(latent), likelihoods.Bernoulli(6), MLP(latent, 6, (7,)))
    return model, NormalGuide(MLP(6, 2 * latent, (7,)))


def binary(size=8):
    return torch.rand(size, 6, generator=torch.Generator().manual_seed(0)).round()


def loss(objective, model, guide, *args, seed=1):
    torch.manual_seed(seed)
    with local_params(model, guide):
        return objective.loss(model, guide, *args)


def tracked(objective, model, guide, *args, seed=1):
    """The mean ELBO that a training step adds."""
    objective.loss(model, guide, *args)  # learns the layout
    torch.manual_seed(seed)
    with local_params(model, guide):
        objective.differentiable_loss(model, guide, *args)
    total, count = objective.collect()
    return total / count


OBJECTIVES = {
    "elbo": ELBO,
    "beta": lambda: ELBO(kl_weight=4.0),
    "annealed": lambda: ELBO(2, kl_weight=Linear(0.0, 1.0, 5)),
    "cyclical": lambda: ELBO(kl_weight=Cyclical(0.0, 1.0, 4)),
    "free bits": lambda: ELBO(free_bits=0.5, analytic=True),
    "free bits per dimension": lambda: ELBO(free_bits=0.1, group="dimension"),
    "capacity": lambda: ELBO(kl_weight=10.0, capacity=Linear(0.0, 0.5, 10)),
    "analytic": lambda: ELBO(analytic=True),
    "iwae": lambda: IWAE(3),
    "stl": lambda: IWAE(3, gradient="stl"),
    "dreg": lambda: IWAE(3, gradient="dreg"),
    "renyi": lambda: Renyi(0.5, 3),
    "wake-sleep": lambda: WakeSleep(3),
    "beta-tc": lambda: BetaTCVAE(beta=Linear(1.0, 6.0, 5), data_size=8),
    "wae": lambda: MMD(10.0),
    "info": lambda: MMD(Linear(0.0, 10.0, 5), kl_weight=0.5, kernel="rbf"),
}


@pytest.fixture(params=OBJECTIVES.values(), ids=OBJECTIVES)
def make(request):
    return request.param


# --------------------------------------------------------------------------------------- all of them


def test_captured_equals_eager(make, captured_only):
    results = []
    for compile in (True, False):
        torch.manual_seed(0)
        model, guide = small()
        objective = make()
        svi = SVI(model, guide, torch.optim.Adam, objective, compile=compile)
        losses = svi.run({"x": binary()}, 8, order=torch.arange(8).expand(8, -1))
        results.append((losses, torch.tensor(objective.collect()), objective.step.clone(), svi.parameters))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)
    assert results[0][2] == 8  # a step counts itself, in the graph too


@pytest.mark.slow
@pytest.mark.parametrize("name", ["annealed", "dreg", "wake-sleep", "beta-tc"])
def test_compiled_equals_eager(name):
    results = []
    for compile in (True, False):
        torch.manual_seed(0)
        model, guide = small()
        objective = OBJECTIVES[name]()
        svi = SVI(model, guide, torch.optim.Adam, objective, compile=compile)
        losses = svi.run({"x": binary()}, 8, order=torch.arange(8).expand(8, -1))
        results.append((losses, torch.tensor(objective.collect()), objective.step.clone(), svi.parameters))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_training_raises_the_elbo(make):
    model, guide = small()
    svi = SVI(model, guide, (torch.optim.Adam, {"lr": 0.02}), make(), compile=False)
    x = binary()
    before = tracked(ELBO(200), model, guide, x)
    for _ in range(60):
        svi.step(x)
    assert tracked(ELBO(200), model, guide, x) > before + 0.2


def test_the_reported_elbo_is_the_same_for_all(make):
    """Whatever is optimised, the tracked number is that of the plain ELBO, by the same draws."""
    model, guide = small()
    x = binary(2000)
    wanted = tracked(ELBO(20), model, guide, x)
    assert tracked(make(), model, guide, x) == pytest.approx(wanted, abs=0.05)


def test_evaluation_neither_tracks_nor_counts(make):
    model, guide = small()
    objective = make()
    svi = SVI(model, guide, torch.optim.Adam, objective, compile=False)
    assert math.isfinite(svi.evaluate_loss(binary()))
    assert objective.step == 0
    assert objective.collect() == (0.0, 0.0)


def test_a_repr_says_what_it_is(make):
    objective = make()
    assert repr(objective).startswith(type(objective).__name__ + "(")


@pytest.mark.parametrize("name", ["elbo", "iwae", "dreg", "wake-sleep"])
def test_a_subsampled_plate_scales_the_sum(ppca, name):
    """The loss of 5 of 20 data is four times the sum of their bounds: the scale stays outside of the logarithm."""

    x = ppca.data(5)["x"]

    class Subsampled:
        """The plate knows 20 data."""

        def __init__(self, program):
            self.program = program

        def __call__(self, x):
            plate = pyro.plate
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    pyro, "plate", lambda name, size, dim: plate(name, 20, subsample=torch.arange(size), dim=dim)
                )
                return self.program(x)

    model, guide = ppca.model, ppca.guide(0.3)
    plain, four = (
        loss(OBJECTIVES[name](), *pair, x) for pair in ((model, guide), (Subsampled(model), Subsampled(guide)))
    )
    torch.testing.assert_close(four, 4 * plain)


# ------------------------------------------------------------------------------------------- the ELBO


@pytest.mark.parametrize("num_particles", [1, 5])
def test_the_elbo_is_pyros(ppca, num_particles):
    x, guide = ppca.data(6)["x"], ppca.guide(0.3, 1.2)
    theirs = Trace_ELBO(num_particles, max_plate_nesting=1, vectorize_particles=num_particles > 1)
    torch.manual_seed(1)
    wanted = theirs.differentiable_loss(ppca.model, guide, x)
    objective = _learned(ELBO(num_particles), ppca.model, guide, x)
    torch.testing.assert_close(loss(objective, ppca.model, guide, x), wanted)


@pytest.mark.parametrize("num_particles", [1, 5])
def test_the_closed_form_is_pyros(num_particles):
    model, guide = small()
    x = binary()
    objective = ELBO(num_particles, analytic=True)
    loss(objective, model, guide, x)
    torch.manual_seed(1)
    with local_params(model, guide):
        theirs = TraceMeanField_ELBO(num_particles, max_plate_nesting=1, vectorize_particles=num_particles > 1)
        wanted = theirs.differentiable_loss(lambda: model(x), lambda: guide(x))
    torch.testing.assert_close(loss(objective, model, guide, x), wanted)


def test_weights_by_hand(ppca):
    data, guide = ppca.data(6), ppca.guide(0.3, 1.2)
    terms = dict(zip("lr", parts(ppca.model, guide, data), strict=True))
    likelihood, rate = terms["l"], terms["r"]
    by_hand = {
        ELBO(kl_weight=4.0): likelihood - 4 * rate,
        ELBO(free_bits=50.0): likelihood - 50.0,
        ELBO(free_bits=0.01): likelihood - rate.mean(),
        ELBO(kl_weight=3.0, capacity=2.0): likelihood - 3 * (rate.mean() - 2).abs(),
        ELBO(kl_weight=Linear(0.5, 1.0, 10)): likelihood - 0.5 * rate,
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


def idle_and_busy(loc):
    """A pair of two dimensions that x does not depend on: rates loc^2 / 2."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(torch.zeros(len(x)), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(loc.expand(len(x), 2), 1.0).to_event(1))

    return model, guide


def test_free_bits_per_dimension_stop_the_gradient_of_idle_dimensions():
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


# ------------------------------------------------------------------------------------- several draws


@pytest.mark.parametrize("gradient", ["plain", "stl", "dreg"])
def test_free_bits_of_the_weighted_bound_push_idle_dimensions_up_to_them(gradient):
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


def test_free_bits_of_the_weighted_bound_want_a_product(ppca, says):
    with says(PairError, "product over dimensions", "MultivariateNormal"):
        IWAE(3, free_bits=1.0).loss(ppca.model, ppca.guide(), ppca.data(4)["x"])


def test_the_bound_of_one_draw_is_the_elbo(ppca):
    x, guide = ppca.data(6)["x"], ppca.guide(0.3, 1.2)
    values = []
    for objective in (ELBO(), IWAE(1), IWAE(1, gradient="stl"), IWAE(1, gradient="dreg"), Renyi(0.3, 1)):
        objective.loss(ppca.model, guide, x)
        values.append(loss(objective, ppca.model, guide, x))
    for value in values[1:]:
        torch.testing.assert_close(value, values[0])


def test_the_bound_rises_to_the_evidence(ppca):
    data, guide = ppca.data(300), ppca.guide(0.3, 1.3)
    exact = ppca.evidence.log_prob(data["x"]).mean().item()
    bounds = [-loss(IWAE(s), ppca.model, guide, data["x"]).item() / 300 for s in (1, 4, 16, 256)]
    assert bounds == sorted(bounds)
    assert bounds[-1] < exact + 0.02
    assert bounds[-1] == pytest.approx(exact, abs=0.02)


def test_weights_are_formed_per_datum(ppca):
    """The bound is the sum over data of log-means over draws; Pyro's, of a scaled plate, is another number."""
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
def test_renyi_near_one_is_the_elbo(ppca, alpha):
    x, guide = ppca.data(6)["x"], ppca.guide(0.3, 1.3)
    near, at = (loss(_learned(o, ppca.model, guide, x), ppca.model, guide, x) for o in (Renyi(alpha, 8), Renyi(1, 8)))
    torch.testing.assert_close(near, at, rtol=1e-4, atol=0)
    torch.testing.assert_close(at, loss(_learned(ELBO(8), ppca.model, guide, x), ppca.model, guide, x))


def test_renyi_at_zero_is_the_importance_weighted_bound(ppca):
    x, guide = ppca.data(6)["x"], ppca.guide(0.3, 1.3)
    zero, iwae = (loss(_learned(o, ppca.model, guide, x), ppca.model, guide, x) for o in (Renyi(0, 8), IWAE(8)))
    torch.testing.assert_close(zero, iwae)
    bounds = [-loss(_learned(Renyi(a, 8), ppca.model, guide, x), ppca.model, guide, x).item() for a in (-1, 0, 0.5, 2)]
    assert bounds == sorted(bounds, reverse=True)


def _learned(objective, *run):
    objective.loss(*run)
    return objective


# ------------------------------------------------------------------------------------------ gradients


def shift_gradients(ppca, objective, shift, stretch, rows=4000):
    """Independent draws of the gradient by the shift of the guide's mean, `(rows, 2)`: one a row of the batch."""
    x = ppca.data(1)["x"].expand(rows, -1)
    shifts = torch.tensor(shift, dtype=torch.float64).repeat(rows, 1).requires_grad_()
    objective.loss(ppca.model, ppca.guide(shifts, stretch), x)
    torch.manual_seed(1)
    (gradient,) = torch.autograd.grad(objective.differentiable_loss(ppca.model, ppca.guide(shifts, stretch), x), shifts)
    return gradient


@pytest.mark.parametrize(("gradient", "num_particles"), [("stl", 1), ("dreg", 1), ("dreg", 5), ("dreg", 20)])
def test_the_other_gradients_have_the_same_mean_and_less_noise(ppca, gradient, num_particles):
    torch.manual_seed(0)
    plain, other = (
        shift_gradients(ppca, IWAE(num_particles, gradient=g), [0.15, -0.1], 1.1) for g in ("plain", gradient)
    )
    error = (plain.var(0) + other.var(0)).div(len(plain)).sqrt()
    assert ((plain.mean(0) - other.mean(0)) / error).abs().max() < 4
    assert (other.std(0) < 0.8 * plain.std(0)).all()


@pytest.mark.parametrize(("gradient", "num_particles"), [("stl", 1), ("stl", 5), ("dreg", 5)])
def test_at_the_posterior_path_gradients_have_no_noise(ppca, gradient, num_particles):
    torch.manual_seed(0)
    at_posterior = shift_gradients(ppca, IWAE(num_particles, gradient=gradient), [0.0, 0.0], 1.0)
    assert at_posterior.abs().max() < 1e-9
    assert shift_gradients(ppca, IWAE(num_particles), [0.0, 0.0], 1.0).abs().mean() > 0.05


def chain(weights, x):
    """p(z2) p(z1 | z2) p(x | z1)"""
    with pyro.plate("data", len(x), dim=-1):
        z2 = pyro.sample("z2", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
        z1 = pyro.sample("z1", dist.Normal(z2 @ weights["up"], 0.7).to_event(1))
        pyro.sample("x", dist.Normal(z1 @ weights["out"], 0.8).to_event(1), obs=x)


def top_down(shift, x):
    with pyro.plate("data", len(x), dim=-1):
        z2 = pyro.sample("z2", dist.Normal(0.3 * x[:, :2] + shift[:, :2], 0.8).to_event(1))
        pyro.sample("z1", dist.Normal((z2 * shift[:, 2:3]).tanh() + 0.2 * x[:, :2], 0.7).to_event(1))


def bottom_up(shift, x):
    with pyro.plate("data", len(x), dim=-1):
        z1 = pyro.sample("z1", dist.Normal(0.3 * x[:, :2] + shift[:, :2], 0.8).to_event(1))
        pyro.sample("z2", dist.Normal((z1 * shift[:, 2:3]).tanh(), 0.7).to_event(1))


@pytest.mark.parametrize("guide", [top_down, bottom_up])
def test_doubly_reparameterised_through_a_hierarchy(guide):
    """The lower guide depends on the draw above it: same mean of all gradients, less noise, the model's unchanged."""
    torch.manual_seed(0)
    weights = {"up": torch.randn(2, 2).double(), "out": torch.randn(2, 3).double()}
    for weight in weights.values():
        weight.requires_grad_()
    x = torch.randn(1, 3).double().expand(20_000, -1)
    shift = torch.tensor([0.2, -0.1, 0.6]).double().repeat(len(x), 1).requires_grad_()
    results = []
    for gradient in ("plain", "dreg"):
        objective = _learned(IWAE(4, gradient=gradient), partial(chain, weights), partial(guide, shift), x)
        torch.manual_seed(1)
        value = objective.differentiable_loss(partial(chain, weights), partial(guide, shift), x)
        results.append(torch.autograd.grad(value, [shift, *weights.values()]))
    (plain, *model), (dreg, *same) = results
    error = (plain.var(0) + dreg.var(0)).div(len(x)).sqrt()
    assert ((plain.mean(0) - dreg.mean(0)) / error).abs().max() < 4
    assert (dreg.std(0) < plain.std(0)).all()
    torch.testing.assert_close(same, model)


def test_an_analytic_rate_only_where_it_is_right(ppca):
    """A guide from the bottom up draws z2 after z1: the closed form of z1's rate at that z2 is not its rate."""
    torch.manual_seed(0)
    weights = {"up": torch.randn(2, 2).double(), "out": torch.randn(2, 3).double()}
    x = torch.randn(20_000, 3).double()
    shift = torch.tensor([0.2, -0.1, 0.6]).double().expand(len(x), -1)
    for guide in (top_down, bottom_up):
        exact, sampled = (
            loss(ELBO(analytic=a), partial(chain, weights), partial(guide, shift), x) / len(x) for a in (True, False)
        )
        assert exact.item() == pytest.approx(sampled.item(), abs=0.08)


# ----------------------------------------------------------------------------------------- wake-sleep


class Mixture(nn.Module):
    """p(z) = Categorical, p(x | z) = Normal(x; loc_z, 0.5), and a free table q(z | x) for three values of x."""

    x = torch.tensor([-1.0, 0.0, 1.2])

    def __init__(self):
        super().__init__()
        self.probs, self.loc = torch.tensor([0.3, 0.5, 0.2]), torch.tensor([-1.0, 0.3, 1.0])
        self.table = nn.Parameter(torch.zeros(3, 3))

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Categorical(self.probs))
            pyro.sample("x", dist.Normal(self.loc[z], 0.5), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Categorical(logits=self.table))

    def posterior(self):
        likelihood = dist.Normal(self.loc, 0.5).log_prob(self.x.unsqueeze(-1)).exp()
        joint = self.probs * likelihood
        return joint / joint.sum(-1, keepdim=True)


def test_wake_sleep_learns_the_posterior_of_a_discrete_latent():
    pair = Mixture()
    objective = WakeSleep(400)
    optimizer = torch.optim.Adam([pair.table], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        objective.differentiable_loss(pair.model, pair.guide, pair.x).backward()
        optimizer.step()
    torch.testing.assert_close(pair.table.softmax(-1), pair.posterior(), rtol=0, atol=0.03)


def test_wake_sleep_follows_the_model_of_the_bound(ppca):
    """Its value is the importance-weighted bound, and so is its gradient for the model."""
    offset = torch.zeros(5).double().requires_grad_()
    x, guide = ppca.data(6)["x"], ppca.guide(0.3, 1.2)

    def model(x):
        return ppca.model(x - offset)

    results = []
    for objective in (WakeSleep(5), IWAE(5)):
        value = loss(_learned(objective, model, guide, x), model, guide, x)
        results.append((value, torch.autograd.grad(value, offset)[0]))
    torch.testing.assert_close(*results)


# ------------------------------------------------------------------------------- objectives of the batch


def test_the_parts_of_the_rate_sum_to_it():
    model, guide = small()
    x = binary()
    unit = _learned(BetaTCVAE(1.0, 1.0, 1.0, data_size=100), model, guide, x)
    torch.testing.assert_close(loss(unit, model, guide, x), loss(_learned(ELBO(), model, guide, x), model, guide, x))


def test_the_decomposition_by_hand():
    """Loops over data and dimensions, and densities written out."""
    model, guide = small()
    x, n = binary(), 100
    objective = BetaTCVAE(data_size=n)
    objective.loss(model, guide, x)
    torch.manual_seed(1)
    with torch.no_grad(), local_params(model, guide):
        draws = objective.draw(partial(model, x), partial(guide, x))
        parts = objective.decompose(draws)
        q = guide.posterior(guide.encoder(x)).base_dist
    z, size = draws.pair.guide.nodes["z"]["value"], len(x)
    for i in range(size):
        density = dist.Normal(q.loc, q.scale).log_prob(z[i]).exp()  # (B, D): q(z_i | x_j) of each dimension
        aggregate = density.prod(-1).sum() / (n * size)
        product = (density.sum(0) / (n * size)).prod()
        own, prior = density[i].prod(), dist.Normal(0.0, 1.0).log_prob(z[i]).sum()
        wanted = torch.stack([(own / aggregate).log(), (aggregate / product).log(), product.log() - prior])
        torch.testing.assert_close(torch.stack([part[i] for part in parts]), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_the_discrepancy(kernel):
    x, y = torch.randn(300, 4), torch.randn(300, 4)
    assert mean_discrepancy(x, x, kernel).abs() < 1e-6
    near, far = mean_discrepancy(x, y, kernel), mean_discrepancy(x, y + 1, kernel)
    assert 0 <= near < far
    assert far > 5 * near


def test_the_discrepancy_by_hand():
    x, y = torch.randn(3, 2), torch.randn(4, 2)

    def k(a, b):
        return math.exp(-((a - b) ** 2).sum().item() / (2 * 2))

    wanted = sum(k(a, b) for a in x for b in x) / 9 + sum(k(a, b) for a in y for b in y) / 16
    wanted -= 2 * sum(k(a, b) for a in x for b in y) / 12
    assert mean_discrepancy(x, y, "rbf").item() == pytest.approx(wanted, abs=1e-5)


def test_the_codes_are_drawn_to_the_prior(ppca):
    """The rate left out, the discrepancy alone keeps the codes where the model draws its own."""
    x = ppca.data(400)["x"]
    near = loss(MMD(100.0), ppca.model, ppca.guide(), x) - loss(MMD(0.0), ppca.model, ppca.guide(), x)
    away = loss(MMD(100.0), ppca.model, ppca.guide(3.0), x) - loss(MMD(0.0), ppca.model, ppca.guide(3.0), x)
    assert away > 10 * near.abs()


# -------------------------------------------------------------------------------------------- schedules


def test_schedules():
    steps = torch.arange(12)
    linear = Linear(1.0, 3.0, 4)
    assert [linear(s).item() for s in steps[:7]] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0]
    cyclical = Cyclical(0.0, 1.0, 4)
    assert [cyclical(s).item() for s in steps] == [0.0, 0.5, 1.0, 1.0] * 3
    twice = Cyclical(0.0, 1.0, 4, rise=1.0, cycles=2)
    assert [twice(s).item() for s in steps] == [0.0, 0.25, 0.5, 0.75] * 2 + [1.0] * 4


def test_schedules_that_make_no_sense(says):
    with says(PairError, "steps >= 1"):
        Linear(0.0, 1.0, 0)
    with says(PairError, "period"):
        Cyclical(0.0, 1.0, 0)
    with says(PairError, "rise"):
        Cyclical(0.0, 1.0, 5, rise=0.0)


# ---------------------------------------------------------------------------------------------- training


def quick(pair, objective, **options):
    options = {"epochs": 4, "batch_size": 4, "compile": False, "progress": False} | options
    return fit(*pair, {"x": binary(10)}, loss=objective, **options)


def test_the_log_shows_the_elbo_beside_the_loss():
    torch.manual_seed(0)
    pair, other = small(), small()
    history = quick(pair, ELBO(kl_weight=Linear(0.0, 1.0, 6)))
    assert list(history.rows[0])[:5] == ["epoch", "step", "lr", "loss", "train_elbo"]
    assert history["train_elbo"][0] < -history["loss"][0]  # the rate weighs less
    assert history["train_elbo"][-1] == pytest.approx(-history["loss"][-1], rel=1e-5)
    plain = quick(other, None)
    assert plain["train_elbo"] == [-value for value in plain["loss"]]
    assert "train_elbo" not in quick(small(), RenyiELBO(num_particles=2)).rows[0]


def test_the_elbo_beside_pyros_own():
    histories = []
    for objective in (ELBO(), None):
        torch.manual_seed(0)
        histories.append(quick(small(), objective))
    assert histories[0]["train_elbo"] == pytest.approx(histories[1]["train_elbo"], rel=1e-5)


def test_a_resumed_schedule_is_bit_exact(tmp_path):
    objective = partial(ELBO, kl_weight=Linear(0.0, 1.0, 9))
    torch.manual_seed(0)
    whole, parts = small(), small()
    for a, b in zip(parts, whole, strict=True):
        a.load_state_dict(b.state_dict())
    through = quick(whole, objective())
    quick(parts, objective(), epochs=2, run=tmp_path)
    resumed = quick(parts, objective(), run=tmp_path, resume=True)
    assert resumed.rows == through.rows
    for a, b in zip(parts, whole, strict=True):
        for one, other in zip(a.parameters(), b.parameters(), strict=True):
            assert torch.equal(one, other)


def test_resuming_another_loss(tmp_path, says):
    pair = small()
    quick(pair, None, epochs=1, run=tmp_path)
    with says(CheckpointError, "loss of Pyro's"):
        quick(pair, ELBO(), run=tmp_path, resume=True)


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("make", [ELBO, lambda: IWAE(3, gradient="dreg"), lambda: Renyi(0.5, 2), lambda: MMD(1.0)])
def test_discrete_draws(make, says):
    pair = Mixture()
    with says(PairError, "'z'", "Categorical", "WakeSleep", "TraceGraph_ELBO", "enumerate"):
        make().loss(pair.model, pair.guide, pair.x)


class Shared(Program):
    """A latent of all data."""

    def forward(self, x=None, *, size=None, data_size=None):
        bias = pyro.sample("bias", dist.Normal(0.0, 1.0))
        rows = len(x) if size is None else size
        with pyro.plate("data", data_size or rows, subsample_size=rows, dim=-1):
            return pyro.sample("x", dist.Normal(bias, 0.5), obs=x)


def shared_guide(x, data_size=None):
    pyro.sample("bias", dist.Normal(0.3, 0.4))


def test_a_latent_of_all_data(says):
    """The ELBO counts it once, as Pyro does; bounds per datum do not exist."""
    x = torch.randn(5)
    objective = _learned(ELBO(), Shared(), shared_guide, x)
    theirs = Trace_ELBO()
    torch.manual_seed(1)
    wanted = theirs.differentiable_loss(lambda: Shared()(x, data_size=20), lambda: shared_guide(x))
    torch.manual_seed(1)
    ours = objective.loss(lambda: Shared()(x, data_size=20), lambda: shared_guide(x))
    torch.testing.assert_close(ours, wanted)
    for other in (IWAE(2), Renyi(0.5, 2), WakeSleep(2), MMD(1.0)):
        with says(PairError, "'bias'", "ELBO()"):
            other.loss(Shared(), shared_guide, x)


def test_a_scale_by_hand(ppca, says):
    with says(PairError, "scale of 7", "kl_weight"):
        ELBO().loss(poutine.scale(ppca.model, 7.0), ppca.guide(), ppca.data(3)["x"])


def test_no_plate(says):
    def model(x):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0).expand(x.shape).to_event(1), obs=x)

    with says(PairError, 'pyro.plate("data"'):
        ELBO().loss(model, lambda x: pyro.sample("z", dist.Normal(0.0, 1.0)), torch.zeros(3))


def test_arguments_that_make_no_sense(says):
    with says(PairError, "num_particles >= 1"):
        IWAE(0)
    with says(PairError, "num_particles >= 2"):
        WakeSleep(1)
    with says(PairError, "'dreg'", "'no'"):
        IWAE(2, gradient="no")
    with says(PairError, "free_bits or capacity"):
        ELBO(free_bits=1.0, capacity=1.0)
    with says(PairError, "'dimension'"):
        ELBO(free_bits=1.0, group="level")
    with says(PairError, "'imq'"):
        MMD(1.0, kernel="linear")


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


def test_pairs_that_an_objective_cannot_take_apart(ppca, says):
    x = ppca.data(3)["x"]
    with says(PairError, "MultivariateNormal", "group='site'"):
        ELBO(free_bits=1.0, group="dimension").loss(ppca.model, ppca.guide(), x)
    with says(PairError, "MultivariateNormal"):
        BetaTCVAE(data_size=3).loss(ppca.model, ppca.guide(), x)
    weights = {"up": torch.randn(2, 2).double(), "out": torch.randn(2, 3).double()}
    shift = torch.zeros(3, 3).double()
    with says(PairError, "one latent", "'z2', 'z1'"):
        BetaTCVAE(data_size=3).loss(partial(chain, weights), partial(top_down, shift), torch.zeros(3, 3).double())
