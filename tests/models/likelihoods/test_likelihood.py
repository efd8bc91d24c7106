"""The contract of every likelihood: normalisation, means, draws, shapes, and where training starts."""

import math

import pytest
import torch
from torch import nn

from pyrovae.models import Likelihood
from pyrovae.models.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Laplace,
    LogNormal,
    NegativeBinomial,
    Normal,
    Ordinal,
    Poisson,
    StudentT,
)

ALL = {
    "bernoulli": lambda shape: Bernoulli(shape),
    "relaxed": lambda shape: Bernoulli(shape, relaxed=True),
    "continuous": lambda shape: ContinuousBernoulli(shape),
    "normal-fixed": lambda shape: Normal(shape, scale=0.3),
    "normal-learned": lambda shape: Normal(shape),
    "normal-each": lambda shape: Normal(shape, "each"),
    "normal-predicted": lambda shape: Normal(shape, scale="predicted"),
    "laplace-fixed": lambda shape: Laplace(shape, 0.3),
    "laplace-learned": lambda shape: Laplace(shape),
    "laplace-predicted": lambda shape: Laplace(shape, "predicted"),
    "student-t": lambda shape: StudentT(shape, "predicted"),
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

# How many parameters the decoder emits per entry, if more than one.
PER_ENTRY = {
    "normal-predicted": 2,
    "laplace-predicted": 2,
    "student-t": 2,
    "log-normal": 2,
    "logistic-predicted": 2,
    "logistic-16": 2,
    "mixture": 9,
    "categorical": 5,
    "negative-binomial-predicted": 2,
}

# All values of an entry whose probability is not negligible.
VALUES = {
    "bernoulli": torch.arange(2.0),
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

# The likelihoods whose mean at the start is exactly that of the data, even of one data point.
EXACT = ["bernoulli", "relaxed", "continuous", "normal-fixed", "normal-learned", "normal-each", "normal-predicted"]


def made(name, shape, dtype=torch.float32):
    """A likelihood whose own parameters are drawn at random, instead of zeros or ones."""
    likelihood = ALL[name](shape).to(dtype)
    for parameter in likelihood.parameters():
        nn.init.normal_(parameter)
    return likelihood


# ------------------------------------------------------------------------------------- normalisation


@pytest.mark.parametrize("size", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("name", VALUES)
def test_masses_sum_to_one(name, size, dtype, masses):
    likelihood = made(name, 1, dtype)
    for _ in range(5):
        params = torch.randn(likelihood.params_shape, dtype=dtype).clamp(-1, 1) * size
        total = masses(likelihood, params, VALUES[name]).sum().item()
        assert total == pytest.approx(1, abs=1e-4 if dtype == torch.float32 else 1e-9)


# ----------------------------------------------------------------------------------- means and draws


@pytest.mark.parametrize("name", VALUES)
def test_the_mean_is_the_sum(name, masses):
    likelihood = made(name, 1, torch.float64)
    params = torch.randn(likelihood.params_shape).double().clamp(-1, 1)
    expected = (masses(likelihood, params, VALUES[name]) * VALUES[name].double()).sum()
    assert likelihood(params).mean.item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("name", VALUES)
def test_draws_have_the_masses(name, masses):
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
@pytest.mark.parametrize("shape", [4, (4,), (1, 6, 5), (3, 2, 2)])
def test_shapes(name, shape, lead):
    likelihood = made(name, shape)
    event = (shape,) if isinstance(shape, int) else shape
    assert likelihood.event_shape == event
    assert likelihood.params_shape == (PER_ENTRY.get(name, 1) * event[0], *event[1:])
    p = likelihood(torch.zeros(*lead, *likelihood.params_shape))
    assert (p.batch_shape, p.event_shape) == (lead, event)
    wider = p.expand((7, *lead))  # as a plate does
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


# ------------------------------------------------------------------------------- where training starts


@pytest.mark.parametrize("name", EXACT)
def test_training_starts_at_the_mean_of_the_data(name, dtype):
    likelihood = ALL[name]((2, 3))
    mean = torch.tensor([[0.011, 0.3, 0.5], [0.4999, 0.9, 0.989]], dtype=dtype)
    start = likelihood.start(mean)
    assert start.shape == likelihood.params_shape
    assert start.dtype == dtype
    torch.testing.assert_close(likelihood(start).mean, mean, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ALL if name not in EXACT])
def test_training_starts_near_the_mean_of_the_data(name):
    likelihood, source = ALL[name]((2, 3)), made(name, (2, 3))
    params = torch.randn(source.params_shape) * 0.3 + (0.5 if "logistic" in name or name == "mixture" else 0.0)
    x = source(params).sample((3000,))
    start = likelihood.start(x)
    assert start.shape == likelihood.params_shape
    mean = likelihood(start).mean
    tolerance = {"log-normal": 0.2, "mixture": 0.15}.get(
        name, 0.06
    )  # clipping at the first and last level moves the mean a little
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


@pytest.mark.parametrize("name", ["bernoulli", "relaxed", "continuous"])
def test_training_starts_at_finite_logits_where_a_pixel_is_always_black(name):
    start = ALL[name](3).start(torch.tensor([0.0, 0.5, 1.0]))
    assert start.isfinite().all()
    assert start.abs().max() < 150
    assert start.abs().min() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("make", [Normal, Laplace, DiscretizedLogistic, lambda n: DiscretizedLogisticMixture(n, 2)])
def test_a_decoder_that_is_off_by_a_little_costs_little_at_any_sharpness(make):
    for sharpness in (0.02, 0.2):
        x = (0.5 + sharpness * torch.randn(2000, 3)).clamp(0, 1).mul(255).round() / 255
        likelihood = make(3)
        start = likelihood.start(x)
        off = start + 0.1 * torch.randn(start.shape)
        assert likelihood(start).log_prob(x).mean() - likelihood(off).log_prob(x).mean() < 0.1


# ------------------------------------------------------------------------------------------ interface


def test_the_interface_cannot_be_built(says):
    with says(TypeError, "abstract"):
        Likelihood(3)


@pytest.mark.parametrize("missing", ["forward", "start", "check"])
def test_a_family_defines_all_three_methods(missing, says):
    methods = {name: lambda self, x: x for name in ("forward", "start", "check") if name != missing}
    with says(TypeError, "Unfinished", missing):
        type("Unfinished", (Likelihood,), methods)(3)
