"""Likelihoods: exactly normalised, their means, supports, and where training starts."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from pyrovae.errors import SupportError
from pyrovae.models import Likelihood
from pyrovae.models.likelihoods import Bernoulli, ContinuousBernoulli, Normal

DTYPES = [torch.float32, torch.float64]
LOGITS = [
    0.0,
    1e-7,
    1e-3,
    -1e-3,
    0.004,
    0.0041,
    0.1,
    -0.999,
    1.0,
    -1.001,
    4.0,
    -8.0,
    12.0,
    15.0,
    17.0,
    -20.0,
    20.0,
    40.0,
]

ALL = {
    "bernoulli": lambda shape: Bernoulli(shape),
    "relaxed": lambda shape: Bernoulli(shape, relaxed=True),
    "continuous": lambda shape: ContinuousBernoulli(shape),
    "normal-fixed": lambda shape: Normal(shape, scale=0.3),
    "normal-learned": lambda shape: Normal(shape),
    "normal-each": lambda shape: Normal(shape, "each"),
    "normal-predicted": lambda shape: Normal(shape, scale="predicted"),
}


def integral(values, grid):
    """Simpson's rule along the last dimension, in float64."""
    weight = torch.ones_like(grid)
    weight[1:-1:2], weight[2:-1:2] = 4, 2
    return (values.double() * weight.double()).sum(-1) * (grid[1] - grid[0]).double() / 3


def unit_grid(points=2**14 + 1):
    return torch.linspace(0, 1, points, dtype=torch.float64)


# ------------------------------------------------------------------------------------- normalisation


@pytest.mark.parametrize("dtype", DTYPES)
def test_bernoulli_sums_to_one(dtype):
    corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=dtype)
    for scale in (0, 1e-3, 1, 20):
        logits = torch.randn(4, dtype=dtype) * scale
        total = Bernoulli(4)(logits.expand(16, 4)).log_prob(corners).exp().sum()
        assert total.item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_integrates_to_one(dtype, logit):
    grid = unit_grid()
    x = grid.to(dtype).unsqueeze(-1)
    density = ContinuousBernoulli(1)(torch.full_like(x, logit)).log_prob(x).exp()
    assert integral(density, grid).item() == pytest.approx(1, abs=1e-4 if dtype == torch.float32 else 1e-9)


def test_continuous_bernoulli_has_its_exact_density():
    for logit in (0.2, -3.0, 20.0, -30.0, 300.0):
        x = torch.tensor([0.0, 0.3, 1.0])
        exact = [logit * (v - 0.5) - log_sinhc(logit / 2) for v in x.tolist()]
        log_prob = ContinuousBernoulli(1)(torch.full((3, 1), logit)).log_prob(x.unsqueeze(-1))
        torch.testing.assert_close(log_prob, torch.tensor(exact), rtol=1e-5, atol=2e-6)


def log_sinhc(h):
    """log(sinh(h) / h)."""
    return abs(h) + math.log1p(-math.exp(-2 * abs(h))) - math.log(2 * abs(h))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("logit", [*LOGITS, 1000.0, -1000.0])
def test_continuous_bernoulli_has_the_exact_gradient(dtype, logit):
    """d/dl log p(x) = x - mean, for any exponential family."""
    logits = torch.full((1,), logit, dtype=dtype, requires_grad=True)
    x = torch.tensor([0.3], dtype=dtype)
    p = ContinuousBernoulli(1)(logits)
    (gradient,) = torch.autograd.grad(p.log_prob(x), logits)
    torch.testing.assert_close(gradient, x - p.mean, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loc", "raw"), [(0.0, 0.0), (3.0, -4.0), (-100.0, 2.0)])
def test_normal_integrates_to_one(dtype, loc, raw):
    likelihood = Normal(1, scale="predicted")
    params = torch.tensor([loc, raw], dtype=dtype)
    scale = likelihood(params).base_dist.scale.item()
    grid = torch.linspace(loc - 9 * scale, loc + 9 * scale, 2**12 + 1, dtype=torch.float64)
    density = likelihood(params.expand(len(grid), 2)).log_prob(grid.to(dtype).unsqueeze(-1)).exp()
    assert integral(density, grid).item() == pytest.approx(1, abs=1e-4 if dtype == torch.float32 else 1e-9)


def test_entries_are_independent():
    for name, make in ALL.items():
        likelihood, single = make((2, 3)), make((2, 1))
        params, x = torch.randn(likelihood.params_shape), torch.rand(2, 3).round()
        parts = sum(single(params[:, i : i + 1]).log_prob(x[:, i : i + 1]) for i in range(3))
        torch.testing.assert_close(likelihood(params).log_prob(x), parts, msg=name)


def test_a_relaxed_bernoulli_is_the_cross_entropy():
    logits, x = torch.randn(7, 1, 4, 5) * 5, torch.rand(7, 1, 4, 5)
    log_prob = Bernoulli((1, 4, 5), relaxed=True)(logits).log_prob(x)
    expected = -binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(log_prob, expected)


def test_a_relaxed_bernoulli_is_the_bernoulli_on_binary_data():
    logits, x = torch.randn(7, 20), torch.rand(7, 20).round()
    torch.testing.assert_close(Bernoulli(20)(logits).log_prob(x), Bernoulli(20, relaxed=True)(logits).log_prob(x))


# --------------------------------------------------------------------------------------------- means


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("logit", LOGITS)
def test_the_mean_of_a_continuous_bernoulli_is_its_integral(dtype, logit):
    grid = unit_grid()
    density = ContinuousBernoulli(1)(torch.full((len(grid), 1), logit).double()).log_prob(grid.unsqueeze(-1)).exp()
    mean = ContinuousBernoulli(1)(torch.full((1,), logit, dtype=dtype)).mean
    assert mean.item() == pytest.approx(integral(density * grid, grid).item(), abs=1e-6)


@pytest.mark.parametrize("logit", [0.0, 1e-3, 2.0, -9.0, 25.0])
def test_draws_of_a_continuous_bernoulli_follow_its_distribution(logit):
    x = ContinuousBernoulli(1)(torch.full((20_000, 1), logit)).sample().double().flatten().sort().values
    assert x[0] >= 0
    assert x[-1] <= 1
    cdf = torch.expm1(logit * x) / math.expm1(logit) if logit else x
    distance = (cdf - torch.arange(1, 20_001) / 20_000).abs().max()  # Kolmogorov and Smirnov
    assert distance.item() < 1.95 / math.sqrt(20_000)


def test_draws_of_a_continuous_bernoulli_have_a_gradient():
    logits = torch.tensor([-3.0, 0.5, 20.0], requires_grad=True)
    draws = ContinuousBernoulli(3)(logits).rsample((500,))
    (gradient,) = torch.autograd.grad(draws.sum(), logits)
    assert (gradient > 0).all()  # more weight, larger draws


def test_means_of_bernoulli_and_normal():
    params = torch.randn(5)
    torch.testing.assert_close(Bernoulli(5)(params).mean, params.sigmoid())
    torch.testing.assert_close(Normal(5)(params).mean, params)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", DTYPES)
def test_training_starts_at_the_mean_of_the_data(name, dtype):
    likelihood = ALL[name]((2, 3))
    mean = torch.tensor([[0.011, 0.3, 0.5], [0.4999, 0.9, 0.989]], dtype=dtype)
    start = likelihood.start(mean)
    assert start.shape == likelihood.params_shape
    assert start.dtype == dtype
    torch.testing.assert_close(likelihood(start).mean, mean, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["bernoulli", "relaxed", "continuous"])
def test_training_starts_at_finite_logits_where_a_pixel_is_always_black(name):
    start = ALL[name](3).start(torch.tensor([0.0, 0.5, 1.0]))
    assert start.isfinite().all()
    assert start.abs().max() < 150
    assert start.abs().min() == pytest.approx(0, abs=1e-5)


# -------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [4, (4,), (1, 6, 5), (3, 2, 2)])
@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_shapes(name, shape, lead):
    likelihood = ALL[name](shape)
    event = (shape,) if isinstance(shape, int) else shape
    channels = 2 if name == "normal-predicted" else 1
    assert likelihood.event_shape == event
    assert likelihood.params_shape == (channels * event[0], *event[1:])
    p = likelihood(torch.zeros(*lead, *likelihood.params_shape))
    assert (p.batch_shape, p.event_shape) == (lead, event)
    wider = p.expand((7, *lead))  # as a plate does
    x = wider.sample()
    assert x.shape == (7, *lead, *event)
    assert wider.log_prob(x).shape == (7, *lead)
    likelihood.check(x)


def test_the_scale_of_a_normal():
    params = torch.zeros(3)
    assert Normal(3, scale=0.3)(params).base_dist.scale.tolist() == pytest.approx([0.3] * 3)
    assert not list(Normal(3, scale=0.3).parameters())
    learned = Normal(3)
    learned.raw_scale.data.fill_(100)
    assert learned(params).base_dist.scale.tolist() == pytest.approx([math.exp(7)] * 3, rel=1e-4)
    loc, raw = torch.randn(3), torch.tensor([-0.1, 0.0, 0.1])
    predicted = Normal(3, scale="predicted")(torch.cat([loc, raw])).base_dist
    assert torch.equal(predicted.loc, loc)
    torch.testing.assert_close(predicted.scale, raw.exp(), rtol=1e-4, atol=0)


def test_a_fixed_scale_follows_the_module():
    likelihood = Normal(3, scale=0.3).double()
    assert likelihood.scale.dtype == torch.float64
    assert "scale" in likelihood.state_dict()


@pytest.mark.parametrize("scale", [0, -1.0, math.nan, "learnt", "fixed"])
def test_a_wrong_scale(scale, says):
    with says(SupportError, "scale > 0", "'learned'", "'predicted'", repr(scale)):
        Normal(3, scale=scale)


@pytest.mark.parametrize("kind", ["predicted", "learned", "each", 0.1])
def test_a_scale_has_a_floor(kind):
    likelihood = Normal(1, kind, min_scale=0.5)
    params = torch.tensor([3.0, -1.0] if kind == "predicted" else [3.0])
    if kind in ("learned", "each"):
        likelihood.raw_scale.data.fill_(-1.0)
    assert likelihood(params).base_dist.scale.item() == 0.5
    assert "min_scale=0.5" in repr(likelihood)
    wide = likelihood(torch.tensor([3.0, 1.0])).base_dist.scale if kind == "predicted" else None
    assert wide is None or wide.item() == pytest.approx(math.e, rel=0.02)


def test_a_floor_is_not_negative(says):
    with says(SupportError, "min_scale >= 0", "-1"):
        Normal(1, min_scale=-1.0)


# ------------------------------------------------------------------------------------------- support


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        (
            "bernoulli",
            [0.0, 0.73],
            ["{0, 1}", "up to 0.73", "'x'", "Binarize()", "ContinuousBernoulli()", "relaxed=True"],
        ),
        ("bernoulli", [0.0, 255.0], ["{0, 1}", "0 to 255", "Scale()"]),
        ("bernoulli", [-1.0, 1.0], ["{0, 1}", "-1 to 1"]),
        ("bernoulli", [math.nan, 1.0], ["{0, 1}", "nan"]),
        ("relaxed", [0.0, 1.01], ["[0, 1]", "0 to 1.01", "Scale()"]),
        ("relaxed", [-0.5, 1.0], ["[0, 1]", "-0.5 to 1"]),
        ("relaxed", [math.nan, 1.0], ["[0, 1]", "nan"]),
        ("continuous", [0.0, 255.0], ["ContinuousBernoulli", "[0, 1]", "0 to 255", "Scale()", "Normal()"]),
        ("continuous", [-0.1, 0.2], ["[0, 1]", "-0.1 to 0.2"]),
        ("continuous", [math.inf, 0.2], ["[0, 1]", "inf"]),
        ("normal-fixed", [math.nan, 0.0], ["Normal", "finite"]),
        ("normal-learned", [math.inf, 0.0], ["Normal", "finite"]),
        ("normal-predicted", [-math.inf, 0.0], ["Normal", "finite"]),
    ],
)
def test_values_outside_the_support(name, values, words, says):
    with says(SupportError, *words):
        ALL[name](2).check(torch.tensor([values]))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bernoulli", [0.0, 1.0]),
        ("relaxed", [0.0, 0.2, 1.0]),
        ("continuous", [0.0, 0.2, 1.0]),
        ("normal-learned", [-1e9, 0.2, 1e9]),
    ],
)
def test_the_support_has_its_edges(name, values):
    ALL[name](len(values)).check(torch.tensor([values]))


def test_an_error_of_the_hot_path_is_pyros(says):
    """Outside `check`, the distribution itself refuses such a value, where validation is on."""
    with says(ValueError, "support"):
        ContinuousBernoulli(1)(torch.zeros(1)).log_prob(torch.tensor([1.5]))


# ---------------------------------------------------------------------------------------------- repr


def test_repr():
    assert repr(Bernoulli((1, 28, 28))) == "Bernoulli((1, 28, 28))"
    assert repr(Bernoulli(5, relaxed=True)) == "Bernoulli((5,), relaxed=True)"
    assert repr(ContinuousBernoulli(5)) == "ContinuousBernoulli((5,))"
    assert repr(Normal(5, scale=0.3)) == "Normal((5,), scale=0.3)"
    assert repr(Normal(5)) == "Normal((5,), scale='learned')"


def test_the_interface_cannot_be_built(says):
    with says(TypeError, "abstract"):
        Likelihood(3)
