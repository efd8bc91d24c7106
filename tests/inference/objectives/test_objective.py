"""Objectives: one loss, whatever is maximised, and the true ELBO next to it."""

import math
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import RenyiELBO

from pyrovae.errors import CheckpointError
from pyrovae.inference import (
    DIPVAE,
    ELBO,
    IWAE,
    MMD,
    SVI,
    BetaTCVAE,
    Enumerated,
    FactorVAE,
    Linear,
    Objective,
    Relaxed,
    Renyi,
    ScoreFunction,
    WakeSleep,
    fit,
)
from pyrovae.inference.objectives.particles import draw_particles


def test_captured_equals_eager(make, captured_only, small, binary):
    results = []
    for compile in (True, False):
        torch.manual_seed(0)
        model, guide = small()
        objective = make()
        svi = SVI(model, guide, torch.optim.Adam, objective, compile=compile)
        losses = svi.steps({"x": binary()}, 8, order=torch.arange(8).expand(8, -1))
        results.append((losses, torch.tensor(objective.collect()), objective.step.clone(), svi.parameters))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)
    assert results[0][2] == 8  # a step counts itself, in the graph too


@pytest.mark.slow
@pytest.mark.parametrize("name", ["annealed", "dreg", "wake-sleep", "beta-tc"])
def test_compiled_equals_eager(name, small, binary, objectives):
    results = []
    for compile in (True, False):
        torch.manual_seed(0)
        model, guide = small()
        objective = objectives[name]()
        svi = SVI(model, guide, torch.optim.Adam, objective, compile=compile)
        losses = svi.steps({"x": binary()}, 8, order=torch.arange(8).expand(8, -1))
        results.append((losses, torch.tensor(objective.collect()), objective.step.clone(), svi.parameters))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_training_raises_the_elbo(make, small, binary, tracked):
    model, guide = small()
    svi = SVI(model, guide, (torch.optim.Adam, {"lr": 0.02}), make(), compile=False)
    x = binary()
    before = tracked(ELBO(200), model, guide, x)
    for _ in range(60):
        svi.step(x)
    assert tracked(ELBO(200), model, guide, x) > before + 0.2


def test_the_reported_elbo_is_the_same_for_all(make, small, binary, tracked):
    """Whatever is optimised, the tracked number is that of the plain ELBO, by the same draws."""
    model, guide = small()
    x = binary(2000)
    wanted = tracked(ELBO(20), model, guide, x)
    assert tracked(make(), model, guide, x) == pytest.approx(wanted, abs=0.05)


def test_evaluation_neither_tracks_nor_counts(make, small, binary):
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
def test_a_subsampled_plate_scales_the_sum(ppca, name, loss, objectives):
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
        loss(objectives[name](), *pair, x) for pair in ((model, guide), (Subsampled(model), Subsampled(guide)))
    )
    torch.testing.assert_close(four, 4 * plain)


@pytest.fixture
def quick(binary):
    """`fit` on ten data points."""

    def run(pair, objective, **options):
        options = {"epochs": 4, "batch_size": 4, "compile": False, "progress": False} | options
        return fit(*pair, {"x": binary(10)}, loss=objective, **options)

    return run


def test_the_log_shows_the_elbo_beside_the_loss(quick, small):
    torch.manual_seed(0)
    pair, other = small(), small()
    history = quick(pair, ELBO(kl_weight=Linear(0.0, 1.0, 6)))
    assert list(history.rows[0])[:5] == ["epoch", "step", "lr", "loss", "train_elbo"]
    assert history["train_elbo"][0] < -history["loss"][0]  # the rate weighs less
    assert history["train_elbo"][-1] == pytest.approx(-history["loss"][-1], rel=1e-5)
    plain = quick(other, None)
    assert plain["train_elbo"] == [-value for value in plain["loss"]]
    assert "train_elbo" not in quick(small(), RenyiELBO(num_particles=2)).rows[0]


def test_the_elbo_beside_pyros_own(quick, small):
    histories = []
    for objective in (ELBO(), None):
        torch.manual_seed(0)
        histories.append(quick(small(), objective))
    assert histories[0]["train_elbo"] == pytest.approx(histories[1]["train_elbo"], rel=1e-5)


def test_a_resumed_schedule_is_bit_exact(quick, tmp_path, small):
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


def test_resuming_another_loss(quick, tmp_path, says, small):
    pair = small()
    quick(pair, None, epochs=1, run=tmp_path)
    with says(
        CheckpointError,
        "'loss': 'pyro.infer.trace_elbo.Trace_ELBO'",
        "objectives.elbo.ELBO'",
    ):
        quick(pair, ELBO(), run=tmp_path, resume=True)


# -------------------------------------------------------------------------------- what a subclass passes on


class Half(Objective):
    """Half the ELBO, with draws and a requirement that note when they are called."""

    def __init__(self, seen):
        def draw(model, guide, num_particles, depth):
            seen.append((num_particles, depth))
            return draw_particles(model, guide, num_particles, depth)

        super().__init__(2, draw=draw, requirements=[lambda pair, layout: seen.append(layout.depth)])

    def bound(self, particles):
        return 0.5 * particles.terms.log_weight.mean(0)


def test_a_subclass_passes_its_draws_and_requirements(ppca, loss, learned):
    x, guide = ppca.data(4)["x"], ppca.guide(0.3, 1.2)
    seen = []
    objective = Half(seen)
    half = loss(learned(objective, ppca.model, guide, x), ppca.model, guide, x)
    whole = loss(learned(ELBO(2), ppca.model, guide, x), ppca.model, guide, x)
    torch.testing.assert_close(half, whole / 2)
    assert seen == [1, (2, 1), (2, 1)], "the requirements are checked once"


def test_an_objective_without_a_bound_cannot_be_made():
    class Unbounded(Objective):
        """No bound."""

    with pytest.raises(TypeError, match="bound"):
        Unbounded()


@pytest.mark.parametrize(
    "kind",
    [ELBO, IWAE, MMD, BetaTCVAE, DIPVAE, Enumerated, FactorVAE, Relaxed, Renyi, ScoreFunction, WakeSleep],
)
def test_only_the_bound_is_defined_by_a_subclass(kind):
    concrete = {"differentiable_loss", "loss", "advance", "elbo", "draw", "check", "track", "collect"}
    assert not concrete & set(vars(kind))
    assert "bound" in vars(kind)
