"""Functions of tensors, and constructors."""

import inspect
import math

import pytest
import torch
from hypothesis import strategies as st

from pyrovae import data, inference, numeric
from pyrovae.models import likelihoods, priors
from pyrovae.networks import MLP, ConvDecoder, ConvEncoder, GatedMLP

X = torch.arange(24.0).reshape(6, 4) / 10 - 1
SCORES = torch.tensor([0.1, 0.5, 0.2, 0.9, 0.4])
LABELS = torch.tensor([0, 1, 0, 1, 0, 1])
DRAWS = X + torch.linspace(-1, 1, 39)[:, None, None]
MASK = X > 0
GREY = (255 * torch.linspace(0, 1, 80)).byte().reshape(5, 1, 4, 4)
POSITIVE, BOUNDS = st.floats(1e-6, 1e6).map(lambda size: size * (X.abs() + 0.1)), st.floats(2, 9)
ROLL = (torch.arange(3 * 88).reshape(3, 88) % 29 == 0).float()
SHARE = (-1.0, 2.0)
IMAGES = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))

FUNCTIONS = {
    "attribute": lambda k: (inference.attribute, {"z": k.tensor(X), "has": k.tensor(LABELS.bool())}),
    "complexity": lambda k: (inference.complexity, {"x": k.tensor(GREY)}),
    "coverage": lambda k: (inference.coverage, {"draws": k.tensor(DRAWS), "truth": k.tensor(X)}),
    "effective_sample_size": lambda k: (inference.effective_sample_size, {"log_weight": k.tensor(X)}),
    "great_circle": lambda k: between(k, inference.great_circle),
    "interval": lambda k: (inference.interval, {"draws": k.tensor(DRAWS)}),
    "lerp": lambda k: between(k, inference.lerp),
    "neighbours": lambda k: (inference.neighbours, {"z": k.tensor(X), "query": k.tensor(X[:2]), "k": k.count(1, 6)}),
    "probe": lambda k: (
        inference.probe,
        {"train": k.tensor(X), "y": k.tensor(LABELS), "test": k.tensor(X), "y_test": k.tensor(LABELS)}
        | {"k": k.count(1, 3), "strength": k.real(0.1, 2.0, refused=(-1.0,))},
    ),
    "psis_khat": lambda k: (inference.psis_khat, {"log_weight": k.tensor(torch.linspace(-2, 2, 120).reshape(40, 3))}),
    "slerp": lambda k: between(k, inference.slerp),
    "quantile": lambda k: (
        inference.threshold,
        {"scores": k.tensor(SCORES), "quantile": k.real(0, 1, refused=SHARE)},
    ),
    "false_alarms": lambda k: (
        inference.threshold,
        {"scores": k.tensor(SCORES), "false_alarms": k.real(0.3, 0.99, refused=SHARE)},
    ),
    "censored": lambda k: (
        data.censored,
        {"x": k.tensor(X), "mask": k.tensor(MASK), "hides": k.choice("large", "small")},
    ),
    "excerpt": lambda k: (data.excerpt, {"x": k.tensor(X), "numbers": k.count(1, 99)}),
    "halves": lambda k: (data.halves, {"x": k.tensor(IMAGES), "side": k.choice("random", "left", "top")}),
    "hide_labels": lambda k: (data.hide_labels, {"batch": k.batch({"x": X, "y": LABELS}, "y"), "keep": k.any_of(2, 4)}),
    "hot_deck": lambda k: (data.hot_deck, {"x": k.tensor(X), "mask": k.tensor(MASK | (X < -0.9))}),
    "incomplete": lambda k: (data.incomplete, {"x": k.tensor(X), "mask": k.tensor(MASK)}),
    "mar": lambda k: (data.mar, {"x": k.tensor(X), "always": k.real(0.1, 0.7, refused=SHARE)}),
    "mcar": lambda k: (data.mcar, {"x": k.tensor(X)}),
    "mnar": lambda k: (data.mnar, {"x": k.tensor(X)}),
    "rolls": lambda k: (data.rolls, {"pieces": k.any_of([[[60], [62, 64]]], [[[], [21]]])}),
    "waveform": lambda k: (
        data.waveform,
        {"roll": k.tensor(ROLL), "step": k.real(0.1, 0.2)},
    ),
    "raw_scale": lambda k: (numeric.raw_scale, {"scale": k.one_of(POSITIVE), "bound": k.one_of(BOUNDS)}),
}
"""The function, and the kinds of its arguments that have no common name."""


def between(k, function):
    return function, {
        "start": k.tensor(X[0]),
        "end": k.tensor(X[1]),
        "weight": k.tensor(torch.tensor([0.0, 0.3, 1.0])),
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_tensors(name, kinds, fuzz):
    function, own = FUNCTIONS[name](kinds)
    if name == "coverage":
        own["where"] = kinds.any_of(None)
    fuzz(kinds.case(function, **own, check=RIGHT.get(name), examples=30)._replace(name=name))


def is_lerp(result, start, end, weight):
    torch.testing.assert_close(result, start + weight[:, None] * (end - start))


def is_share_of_draws(result, log_weight, **arguments):
    weight = log_weight.double().softmax(0)
    torch.testing.assert_close(result.double(), 1 / (weight**2).sum(0), rtol=1e-4, atol=1e-6)


def has_rate(result, x, rate, **arguments):
    assert result.shape == x.shape
    assert result.dtype == torch.bool


def is_inverse(result, scale, bound, **arguments):
    back = numeric.bounded_scale(result, bound)
    inside = scale.log().abs() < bound - 1
    torch.testing.assert_close(back[inside], scale[inside], rtol=1e-3, atol=1e-3)


RIGHT = {
    "lerp": is_lerp,
    "effective_sample_size": is_share_of_draws,
    "mcar": has_rate,
    "mar": has_rate,
    "mnar": has_rate,
    "raw_scale": is_inverse,
}

CONSTRUCTORS = {
    "Annealing": lambda k: (
        inference.Annealing,
        {"num_temperatures": k.count(2, 9), "num_leapfrog": k.count(), "start": k.choice("guide", "prior")}
        | {"schedule": k.choice("sigmoid", "linear"), "acceptance": k.real(0.1, 0.9, refused=SHARE)},
    ),
    "BetaTCVAE": lambda k: (inference.BetaTCVAE, {"data_size": k.count(1, 99), "beta": k.real(0.5, 9)}),
    "Cyclical": lambda k: (
        inference.Cyclical,
        {
            "start": k.real(0, 1),
            "end": k.real(0, 1),
            "period": k.count(1, 9),
            "rise": k.real(0.1, 0.9, refused=(-1.0,)),
        },
    ),
    "ELBO": lambda k: (
        inference.ELBO,
        {"kl_weight": k.real(0, 9), "free_bits": k.real(0, 1), "group": k.choice("site", "dimension")},
    ),
    "IWAE": lambda k: (inference.IWAE, {"gradient": k.choice("plain", "stl", "dreg"), "free_bits": k.real(0, 1)}),
    "Linear": lambda k: (inference.Linear, {"start": k.real(0, 1), "end": k.real(0, 1), "steps": k.count(1, 9)}),
    "MMD": lambda k: (inference.MMD, {"weight": k.real(0.5, 9), "kernel": k.choice("imq", "rbf")}),
    "Renyi": lambda k: (inference.Renyi, {"alpha": k.real(-0.5, 0.9), "num_particles": k.count(2, 9)}),
    "Supervised": lambda k: (inference.Supervised, {"weight": k.real(0.5, 9), "label": k.name("y")}),
    "WakeSleep": lambda k: (inference.WakeSleep, {"num_particles": k.count(2, 9)}),
    "Binarize": lambda k: (data.Binarize, {"mode": k.choice("dynamic", "static", "threshold")}),
    "ByLength": lambda k: (data.ByLength, {"lengths": k.tensor(LABELS + 3), "batch_size": k.count()}),
    "Quadrants": lambda k: (data.Quadrants, {"seen": k.count(1, 3)}),
    "MLP": lambda k: (
        MLP,
        {"in_shape": k.shape(3, (2, 2)), "out_shape": k.shape(3, (2, 2)), "hidden": k.shape((3,), (4, 2))},
    ),
    "GatedMLP": lambda k: (
        GatedMLP,
        {"in_shape": k.shape(3, (2, 2)), "out_shape": k.shape(3, (2, 2)), "hidden": k.shape((3,), (4, 2))},
    ),
    "ConvEncoder": lambda k: (ConvEncoder, {"in_shape": k.shape((1, 8, 8)), "out_shape": k.shape(3, (2, 2))}),
    "ConvDecoder": lambda k: (ConvDecoder, {"in_shape": k.shape(3, (2, 2)), "out_shape": k.shape((1, 8, 8))}),
    "MixtureOfNormals": lambda k: (priors.MixtureOfNormals, {"dim": k.count(), "components": k.count()}),
    "FlowPrior": lambda k: (priors.FlowPrior, {"dim": k.count(2, 4), "layers": k.count(), "hidden": k.shape((3,))}),
    "StandardNormal": lambda k: (priors.StandardNormal, {"dim": k.count()}),
    "Flat": lambda k: (priors.Flat, {"dim": k.count()}),
}
OTHERS = {"Dispersion", "Heterogeneous", "Likelihood", "LocationScale", "Marginal", "OverdispersedCounts", "ScaleMode"}
EVENTS = [name for name in likelihoods.__all__ if name not in OTHERS]


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_constructors(name, kinds, fuzz):
    function, own = CONSTRUCTORS[name](kinds)
    fuzz(kinds.case(function, **own, examples=30))


@pytest.mark.parametrize("name", EVENTS)
def test_likelihoods(name, kinds, fuzz):
    kind = getattr(likelihoods, name)
    number = kinds.real(0.5, 2.0, refused=("", "x", -1.0, 0.0, math.inf))
    scales = kinds.sampled("learned", "predicted", 0.5), number.hostile, number.refused
    own = {"event_shape": kinds.shape(3, (2, 2), [4]), "scale": kinds.Kind(*scales)}
    own |= {"values": kinds.count(2, 5), "levels": kinds.count(2, 9), "components": kinds.count()}
    own |= {"min_scale": kinds.real(0.0, 0.1, refused=(-1.0,)), "dispersion": kinds.choice("learned", "predicted")}
    own |= {"relaxed": kinds.flag(), "classes": kinds.count(2, 5), "words": kinds.count(2, 5)}
    names = inspect.signature(kind).parameters
    case = kinds.case(kind, **{name: value for name, value in own.items() if name in names}, examples=30)
    fuzz(case)


@pytest.mark.parametrize("name", EVENTS)
def test_a_likelihood_scores_its_own_draws(name, kinds, fuzz):
    """log p(x) of draws is finite; with values outside the support it is refused, or minus infinity."""
    torch.manual_seed(0)
    extra = {"values": 4} if name in ("Categorical", "Ordinal") else {}
    likelihood = getattr(likelihoods, name)(3, **extra)
    params = torch.randn(2, *likelihood.params_shape)
    x = likelihood(params).sample()

    def score(params, x):
        return likelihood(params).log_prob(x)

    def check(result, params, x):
        assert result.isfinite().all()

    own = {"params": kinds.Kind(*kinds.one_of(kinds.sampled(params))), "x": kinds.one_of(kinds.sampled(x))}
    fuzz(kinds.Case(name, score, own, check, 5))
