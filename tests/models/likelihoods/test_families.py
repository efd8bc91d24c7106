"""The families of likelihoods: exactly normalised, their means and draws, supports, and where training starts."""

import math

import pytest
import torch
from torch import nn

from pyrovae.errors import ShapeError, SupportError
from pyrovae.models.likelihoods import (
    Bernoulli,
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Heterogeneous,
    Laplace,
    LogNormal,
    NegativeBinomial,
    Normal,
    Ordinal,
    Poisson,
)

DTYPES = [torch.float32, torch.float64]

ALL = {
    "laplace-fixed": lambda shape: Laplace(shape, 0.3),
    "laplace-learned": lambda shape: Laplace(shape),
    "laplace-predicted": lambda shape: Laplace(shape, "predicted"),
    "log-normal": lambda shape: LogNormal(shape, "predicted"),
    "logistic-fixed": lambda shape: DiscretizedLogistic(shape, 0.02),
    "logistic-learned": lambda shape: DiscretizedLogistic(shape, "learned"),
    "logistic-predicted": lambda shape: DiscretizedLogistic(shape),
    "logistic-16": lambda shape: DiscretizedLogistic(shape, levels=16),
    "mixture": lambda shape: DiscretizedLogisticMixture(shape, 3),
    "categorical": lambda shape: Categorical(shape, 5),
    "ordinal": lambda shape: Ordinal(shape, 5),
    "binary-ordinal": lambda shape: Ordinal(shape, 2),
    "poisson": lambda shape: Poisson(shape),
    "negative-binomial": lambda shape: NegativeBinomial(shape),
    "negative-binomial-predicted": lambda shape: NegativeBinomial(shape, "predicted"),
}

# All values of one entry whose mass is not negligible.
VALUES = {
    "logistic-fixed": torch.arange(256) / 255,
    "logistic-learned": torch.arange(256) / 255,
    "logistic-predicted": torch.arange(256) / 255,
    "logistic-16": torch.arange(16) / 15,
    "mixture": torch.arange(256) / 255,
    "categorical": torch.arange(5.0),
    "ordinal": torch.arange(5.0),
    "binary-ordinal": torch.arange(2.0),
    "poisson": torch.arange(200_000.0),
    "negative-binomial": torch.arange(200_000.0),
    "negative-binomial-predicted": torch.arange(200_000.0),
}


def made(name, shape, dtype=torch.float32):
    """A likelihood whose own parameters are not at their special start."""
    likelihood = ALL[name](shape).to(dtype)
    for parameter in likelihood.parameters():
        nn.init.normal_(parameter)
    return likelihood


def masses(likelihood, params, values):
    """p(x) at each value, for likelihoods of one entry: shape `(V,)`."""
    x = values.to(params.dtype).unsqueeze(-1)
    return likelihood(params.expand(len(x), *params.shape)).log_prob(x).exp()


# ------------------------------------------------------------------------------------- normalisation


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("name", VALUES)
def test_masses_sum_to_one(name, size, dtype):
    likelihood = made(name, 1, dtype)
    for _ in range(5):
        params = torch.randn(likelihood.params_shape, dtype=dtype).clamp(-1, 1) * size
        total = masses(likelihood, params, VALUES[name]).sum().item()
        assert total == pytest.approx(1, abs=1e-4 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("raw", [-40.0, -3.0, 0.0, 2.5, 40.0])
@pytest.mark.parametrize("loc", [-5.0, 0.0, 0.31, 1.0, 30.0])
def test_a_discretised_logistic_sums_to_one_wherever_it_is(loc, raw, dtype):
    params = torch.tensor([loc, raw], dtype=dtype)
    total = masses(DiscretizedLogistic(1), params, VALUES["logistic-predicted"]).sum().item()
    assert total == pytest.approx(1, abs=2e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("make", [Laplace, LogNormal])
def test_densities_integrate_to_one(make):
    for loc, raw in ((0.0, 0.0), (1.2, -2.0), (-0.5, 0.4)):
        params = torch.tensor([loc, raw], dtype=torch.float64)
        t = torch.linspace(loc - 40 * math.exp(raw), loc + 40 * math.exp(raw), 400_001, dtype=torch.float64)
        x = t.exp() if make is LogNormal else t
        density = make(1, "predicted")(params.expand(len(x), 2)).log_prob(x.unsqueeze(-1)).exp()
        assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-5)


def test_a_discretised_logistic_is_the_difference_of_its_distribution_function():
    params = torch.tensor([0.4, -3.5], dtype=torch.float64)
    scale = 255 * math.exp(7 * math.tanh(-3.5 / 7))
    edges = (torch.arange(1, 256).double() - 0.5 - 255 * 0.4) / scale
    cdf = torch.cat([torch.zeros(1), edges.sigmoid(), torch.ones(1)]).double()
    torch.testing.assert_close(masses(DiscretizedLogistic(1), params, VALUES["logistic-predicted"]), cdf.diff())


@pytest.mark.parametrize("x", [0.0, 7 / 255, 128 / 255, 1.0])
@pytest.mark.parametrize("raw", [-12.0, -2.0, 0.0, 6.0, 12.0])
@pytest.mark.parametrize("loc", [-1e4, -3.0, 0.2, 1.0, 1e4])
def test_far_tails_in_float32_are_those_in_float64(loc, raw, x):
    seen = {}
    for dtype in DTYPES:
        params = torch.tensor([loc, raw], dtype=dtype, requires_grad=True)
        log_prob = DiscretizedLogistic(1)(params).log_prob(torch.tensor([x], dtype=dtype))
        (gradient,) = torch.autograd.grad(log_prob, params)
        seen[dtype] = torch.stack([log_prob.detach(), *gradient]).double()
    assert seen[torch.float32].isfinite().all()
    torch.testing.assert_close(seen[torch.float32], seen[torch.float64], rtol=1e-3, atol=1e-3)


def test_a_mixture_of_one_is_the_component():
    loc, raw = torch.rand(2, 3), torch.randn(2, 3)
    x = (torch.rand(2, 3) * 255).round() / 255
    one = DiscretizedLogisticMixture((2, 3), 1)(torch.cat([torch.zeros(2, 3), loc, raw])).log_prob(x)
    torch.testing.assert_close(one, DiscretizedLogistic((2, 3))(torch.cat([loc, raw])).log_prob(x))


def test_a_mixture_weighs_its_components():
    logits, loc, raw = torch.randn(3, 3), torch.rand(3, 3), torch.randn(3, 3)  # (components, entries)
    x = torch.tensor([0.0, 100 / 255, 1.0])
    single = DiscretizedLogistic(1)
    for entry in range(3):
        parts = [single(torch.stack([loc[k, entry], raw[k, entry]])).log_prob(x[entry : entry + 1]) for k in range(3)]
        expected = (torch.stack(parts) + logits[:, entry].log_softmax(0)).logsumexp(0)
        params = torch.cat([logits[:, entry], loc[:, entry], raw[:, entry]])
        torch.testing.assert_close(DiscretizedLogisticMixture(1, 3)(params).log_prob(x[entry : entry + 1]), expected)


def test_an_ordinal_has_cumulative_logits():
    likelihood = made("ordinal", 1, torch.float64)
    first, *gaps = likelihood.raw_thresholds[0].tolist()
    thresholds = torch.tensor([first, *(math.exp(7 * math.tanh(gap / 7)) for gap in gaps)]).double().cumsum(0)
    h = torch.tensor([0.7], dtype=torch.float64)
    cumulative = masses(likelihood, h, VALUES["ordinal"]).cumsum(0)
    torch.testing.assert_close(cumulative[:-1], (thresholds - h).sigmoid(), rtol=1e-6, atol=1e-6)
    assert likelihood(h + 1).mean > likelihood(h).mean


def test_a_negative_binomial_has_its_mean_and_variance():
    params = torch.tensor([2.0, -0.3], dtype=torch.float64)
    p = NegativeBinomial(1, "predicted")(params)
    mean, r = math.exp(15 * math.tanh(2 / 15)), math.exp(7 * math.tanh(-0.3 / 7))
    assert p.mean.item() == pytest.approx(mean)
    assert p.variance.item() == pytest.approx(mean + mean**2 / r)


# ----------------------------------------------------------------------------------- means and draws


@pytest.mark.parametrize("name", VALUES)
def test_the_mean_is_the_sum(name):
    likelihood = made(name, 1, torch.float64)
    params = torch.randn(likelihood.params_shape).double().clamp(-1, 1)
    expected = (masses(likelihood, params, VALUES[name]) * VALUES[name].double()).sum()
    assert likelihood(params).mean.item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("name", VALUES)
def test_draws_have_the_masses(name):
    likelihood = made(name, 1)
    params = torch.randn(likelihood.params_shape).clamp(-1, 1)
    count, values = 20_000, VALUES[name]
    draws = likelihood(params).sample((count,))
    assert draws.dtype == torch.float32
    p = masses(likelihood, params, values).double()
    seen = torch.stack([(draws <= value + 1e-4).double().mean() for value in values[:256]])
    assert (seen - p.cumsum(0)[:256]).abs().max().item() < 1.95 / math.sqrt(count)  # Kolmogorov and Smirnov


# ------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
@pytest.mark.parametrize("shape", [4, (3, 2, 2)])
def test_shapes(name, shape, lead):
    likelihood = made(name, shape)
    event = (shape,) if isinstance(shape, int) else shape
    assert likelihood.event_shape == event
    p = likelihood(torch.zeros(*lead, *likelihood.params_shape))
    assert (p.batch_shape, p.event_shape) == (lead, event)
    wider = p.expand((7, *lead))
    x = wider.sample()
    assert x.shape == (7, *lead, *event)
    assert wider.log_prob(x).shape == (7, *lead)
    assert wider.mean.shape == (7, *lead, *event)
    likelihood.check(x)
    assert p.support.check(x).all()


@pytest.mark.parametrize("name", ALL)
def test_entries_are_independent(name):
    likelihood, single = made(name, (2, 3)), ALL[name]((2, 1))
    params = torch.randn(likelihood.params_shape)
    x = likelihood(params).sample()
    total = 0
    for i in range(3):
        own = {n: p[:, i : i + 1] if p.dim() > 1 else p for n, p in likelihood.state_dict().items()}
        single.load_state_dict(own)
        total = total + single(params[:, i : i + 1]).log_prob(x[:, i : i + 1])
    torch.testing.assert_close(likelihood(params).log_prob(x), total)


def test_integers_may_be_int64():
    x = torch.tensor([[0, 2, 1]])
    for likelihood in (Categorical(3, 4), Ordinal(3, 4)):
        params = torch.randn(1, *likelihood.params_shape)
        likelihood.check(x)
        assert torch.equal(likelihood(params).log_prob(x), likelihood(params).log_prob(x.float()))
        assert likelihood.start(x).is_floating_point()


# ------------------------------------------------------------------------------- where training starts


@pytest.mark.parametrize("name", ALL)
def test_training_starts_near_the_mean_of_the_data(name):
    likelihood, source = ALL[name]((2, 3)), made(name, (2, 3))
    params = torch.randn(source.params_shape) * 0.3 + (0.5 if "logistic" in name or name == "mixture" else 0.0)
    x = source(params).sample((3000,))
    start = likelihood.start(x)
    assert start.shape == likelihood.params_shape
    mean = likelihood(start).mean
    tolerance = {"log-normal": 0.2, "mixture": 0.15}.get(name, 0.06)  # the mass beyond the ends pulls a little
    torch.testing.assert_close(mean, x.mean(0), rtol=tolerance, atol=tolerance)
    assert likelihood(start).log_prob(x).mean() >= likelihood(torch.zeros_like(start)).log_prob(x).mean() - 1e-4


@pytest.mark.parametrize("name", ALL)
def test_training_starts_at_finite_parameters_where_an_entry_never_varies(name):
    likelihood = ALL[name](3)
    x = torch.ones(20, 3)
    start = likelihood.start(x).requires_grad_()
    log_prob = likelihood(start).log_prob(x).sum()
    log_prob.backward()
    assert log_prob.isfinite()
    assert start.grad.isfinite().all()
    assert all(p.isfinite().all() for p in likelihood.parameters())


@pytest.mark.parametrize(("make", "factor"), [(Normal, 1.0), (Laplace, 1 / math.sqrt(2))])
def test_a_scale_starts_at_the_spread_of_the_data(make, factor):
    x = torch.randn(5000, 2) * torch.tensor([0.05, 0.2]) + 3
    predicted = make(2, "predicted")
    scale = predicted(predicted.start(x)).base_dist.scale
    torch.testing.assert_close(scale, x.std(0) * factor, rtol=1e-3, atol=0)
    each = make(2, "each")
    torch.testing.assert_close(each(each.start(x)).base_dist.scale[:2], scale, rtol=1e-3, atol=0)
    learned = make(2)
    scale = learned(learned.start(x)).base_dist.scale
    assert scale[0].item() == pytest.approx(x.var(0).mean().sqrt().item() * factor, rel=1e-3)


@pytest.mark.parametrize("make", [Normal, Laplace, DiscretizedLogistic, lambda n: DiscretizedLogisticMixture(n, 2)])
def test_a_decoder_that_is_off_by_a_little_costs_little_at_any_sharpness(make):
    for sharpness in (0.02, 0.2):
        x = (0.5 + sharpness * torch.randn(2000, 3)).clamp(0, 1).mul(255).round() / 255
        likelihood = make(3)
        start = likelihood.start(x)
        off = start + 0.1 * torch.randn(start.shape)
        assert likelihood(start).log_prob(x).mean() - likelihood(off).log_prob(x).mean() < 0.1


@pytest.mark.parametrize("scale", ["learned", "each", "predicted"])
def test_training_does_not_depend_on_the_units_of_the_data(scale):
    x = torch.randn(500, 2) * torch.tensor([1.0, 2.0]) + 3
    small, large = Normal(2, scale), Normal(2, scale)
    params, same = small.start(x), large.start(1e5 * x)
    torch.testing.assert_close(params, same)
    moved = params + 0.3
    shifted = small(moved).log_prob(x) - 2 * math.log(1e5)
    torch.testing.assert_close(large(moved).log_prob(1e5 * x), shifted, rtol=1e-4, atol=1e-4)


def test_a_discretised_scale_starts_at_the_spread_of_the_data():
    x = (0.5 + 0.1 * torch.randn(5000, 1)).mul(255).round().clamp(0, 255) / 255
    for likelihood in (DiscretizedLogistic(1), DiscretizedLogistic(1, "learned")):
        draws = likelihood(likelihood.start(x)).sample((20_000,))
        assert draws.std().item() == pytest.approx(0.1, rel=0.05)


def test_frequencies_are_met_at_the_start():
    x = torch.tensor([0.0, 0.0, 0.0, 1.0, 3.0]).repeat(400).unsqueeze(-1)
    for likelihood in (Categorical(1, 4), Ordinal(1, 4)):
        p = masses(likelihood, likelihood.start(x), torch.arange(4.0))
        torch.testing.assert_close(p, torch.tensor([0.6, 0.2, 0.0, 0.2]), rtol=0, atol=2e-3)


def test_a_negative_binomial_starts_at_the_dispersion_of_the_data():
    x = NegativeBinomial(1, "predicted")(torch.tensor([2.0, -1.0])).sample((50_000,))
    likelihood = NegativeBinomial(1, "predicted")
    p = likelihood(likelihood.start(x))
    assert p.mean.item() == pytest.approx(x.mean().item(), rel=1e-3)
    assert p.variance.item() == pytest.approx(x.var().item(), rel=1e-2)


# ------------------------------------------------------------------------------------------- support


@pytest.mark.parametrize(
    ("likelihood", "values", "words"),
    [
        (Laplace(2), [math.nan, 0.0], ["Laplace", "finite"]),
        (LogNormal(2), [0.0, 1.0], ["LogNormal", "x > 0", "0 to 1", "Poisson()"]),
        (LogNormal(2), [math.nan, 1.0], ["LogNormal", "nan"]),
        (DiscretizedLogistic(2), [0.0, 0.5], ["DiscretizedLogistic", "1/255", "got 0.5 ", "Scale()", "x * 255"]),
        (DiscretizedLogistic(2), [0.0, 200.0], ["DiscretizedLogistic", "0 to 200", "Scale()"]),
        (DiscretizedLogistic(2, levels=16), [1.1, 0.0], ["1/15", "1.1"]),
        (DiscretizedLogisticMixture(2, 2), [0.0, 0.01], ["DiscretizedLogisticMixture", "0.01"]),
        (Categorical(2, 3), [3.0, 0.0], ["Categorical", "{0, ..., 2}", "0 to 3", "values=int(x.max()) + 1"]),
        (Categorical(2, 3), [0.5, 0.0], ["Categorical", "got 0.5"]),
        (Ordinal(2, 3), [-1.0, 0.0], ["Ordinal", "from 0"]),
        (Poisson(2), [1.5, 0.0], ["Poisson", "{0, 1, 2, ...}", "1.5", "raw counts"]),
        (Poisson(2), [math.inf, 0.0], ["Poisson", "infinity"]),
        (NegativeBinomial(2), [-1.0, 0.0], ["NegativeBinomial", "-1 to 0"]),
    ],
)
def test_values_outside_the_support(likelihood, values, words, says):
    x = torch.tensor([values])
    with says(SupportError, *words):
        likelihood.check(x)


def test_every_stored_grey_level_is_a_level():
    x = torch.arange(256, dtype=torch.uint8).float() / 255
    DiscretizedLogistic(256).check(x[None])
    assert DiscretizedLogistic(256)(torch.zeros(512)).support.check(x)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Laplace(2, -1.0), ["Laplace", "scale > 0", "-1.0"]),
        (lambda: DiscretizedLogistic(2, "learnt"), ["DiscretizedLogistic", "'predicted'", "'learnt'"]),
        (lambda: DiscretizedLogistic(2, levels=1), ["levels >= 2", "levels=256"]),
        (lambda: Categorical(2, 1), ["Categorical", "values >= 2"]),
        (lambda: Ordinal(2, 1), ["Ordinal", "values >= 2"]),
        (lambda: NegativeBinomial(2, "shared"), ["'learned'", "'predicted'", "'shared'"]),
    ],
)
def test_wrong_arguments(make, words, says):
    with says(SupportError, *words):
        make()


# -------------------------------------------------------------------------------------------- tables


def table():
    columns = {
        "age": Normal(1, "predicted"),
        "income": LogNormal(1),
        "visits": Poisson(1),
        "grade": Ordinal(1, 4),
        "city": Categorical(1, 3),
        "answers": Bernoulli(2),
    }
    return Heterogeneous(columns)


def test_a_table_is_the_product_of_its_columns():
    likelihood = table()
    assert likelihood.event_shape == (7,)
    assert likelihood.params_shape == (2 + 1 + 1 + 1 + 3 + 2,)
    params = torch.randn(5, 10)
    p = likelihood(params)
    x = p.sample()
    own = zip(likelihood.columns, params.split([2, 1, 1, 1, 3, 2], -1), x.split([1, 1, 1, 1, 1, 2], -1), strict=True)
    parts = [(column(part), value) for column, part, value in own]
    torch.testing.assert_close(p.log_prob(x), sum(part.log_prob(value) for part, value in parts))
    assert torch.equal(p.mean, torch.cat([part.mean for part, _ in parts], -1))
    assert (p.batch_shape, p.event_shape) == ((5,), (7,))
    assert p.expand((3, 5)).sample((2,)).shape == (2, 3, 5, 7)
    assert p.support.check(x).all()


def test_a_table_starts_where_its_columns_do():
    likelihood = table()
    x = likelihood(torch.randn(10)).sample((500,))
    start = likelihood.start(x)
    assert start.shape == likelihood.params_shape
    torch.testing.assert_close(start[2:3], LogNormal(1).start(x[:, 1:2]))
    assert likelihood.columns[1].unit != 1


def test_a_table_names_the_column(says):
    likelihood = table()
    x = likelihood(torch.randn(4, 10)).sample()
    likelihood.check(x)
    x[1, 2] = 0.5
    with says(SupportError, "column 'visits'", "Poisson", "0.5", "raw counts"):
        likelihood.check(x)


def test_a_table_wants_columns(says):
    with says(ShapeError, "no column", "Normal(1)"):
        Heterogeneous({})
    with says(ShapeError, "'picture'", "(1, 4, 4)"):
        Heterogeneous({"age": Normal(1), "picture": Bernoulli((1, 4, 4))})


def test_a_column_may_have_any_name():
    assert "type, a.b" in repr(Heterogeneous({"type": Normal(1), "a.b": Poisson(1)}))


# ---------------------------------------------------------------------------------------------- repr


def test_repr():
    assert repr(Laplace(5, 0.3)) == "Laplace((5,), scale=0.3)"
    assert repr(DiscretizedLogistic(5)) == "DiscretizedLogistic((5,), scale='predicted', levels=256)"
    assert repr(DiscretizedLogisticMixture(5, 3)) == "DiscretizedLogisticMixture((5,), components=3, levels=256)"
    assert repr(Categorical(5, 3)) == "Categorical((5,), values=3)"
    assert repr(Ordinal(5, 3)) == "Ordinal((5,), values=3)"
    assert repr(Poisson(5)) == "Poisson((5,))"
    assert repr(NegativeBinomial(5)) == "NegativeBinomial((5,), dispersion='learned')"
