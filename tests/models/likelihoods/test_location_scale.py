"""Locations and scales: densities, how a scale is given, where it starts, and units of the data."""

import math

import pytest
import torch

from pyrovae.errors import SettingError, SupportError
from pyrovae.models.likelihoods import Laplace, LocationScale, LogNormal, Normal, StudentT


@pytest.mark.parametrize(("loc", "raw"), [(0.0, 0.0), (3.0, -4.0), (-100.0, 2.0)])
def test_a_normal_integrates_to_one(dtype, loc, raw, integral):
    likelihood = Normal(1, scale="predicted")
    params = torch.tensor([loc, raw], dtype=dtype)
    scale = likelihood(params).base_dist.scale.item()
    grid = torch.linspace(loc - 9 * scale, loc + 9 * scale, 2**12 + 1, dtype=torch.float64)
    density = likelihood(params.expand(len(grid), 2)).log_prob(grid.to(dtype).unsqueeze(-1)).exp()
    assert integral(density, grid).item() == pytest.approx(1, abs=1e-4 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("make", [Laplace, LogNormal])
def test_densities_integrate_to_one(make):
    for loc, raw in ((0.0, 0.0), (1.2, -2.0), (-0.5, 0.4)):
        params = torch.tensor([loc, raw], dtype=torch.float64)
        t = torch.linspace(loc - 40 * math.exp(raw), loc + 40 * math.exp(raw), 400_001, dtype=torch.float64)
        x = t.exp() if make is LogNormal else t
        density = make(1, "predicted")(params.expand(len(x), 2)).log_prob(x.unsqueeze(-1)).exp()
        assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-5)


def test_the_degrees_of_freedom_are_learned_and_above_2():
    likelihood = StudentT(3)
    likelihood.raw_df.data.fill_(-100.0)
    p = likelihood(torch.zeros(3)).base_dist
    assert (p.df > 2).all()
    assert p.variance.isfinite().all()
    likelihood.raw_df.data.fill_(100.0)
    x = torch.linspace(-2, 2, 3)
    normal = Normal(3)(torch.zeros(3)).log_prob(x)
    torch.testing.assert_close(likelihood(torch.zeros(3)).log_prob(x), normal, rtol=0, atol=1e-2)


def test_the_mean_of_a_normal():
    params = torch.randn(5)
    torch.testing.assert_close(Normal(5)(params).mean, params)


# ---------------------------------------------------------------------------------- how a scale is given


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
    with says(SupportError, "Normal requires scale > 0", "'learned'", "'predicted'", repr(scale)):
        Normal(3, scale=scale)
    with says(SupportError, "Laplace requires scale > 0", repr(scale)):
        Laplace(2, scale)


@pytest.mark.parametrize("scale", ["predicted", "learned", "each", 0.1])
def test_a_scale_has_a_floor(scale):
    likelihood = Normal(1, scale, min_scale=0.5)
    params = torch.tensor([3.0, -1.0] if scale == "predicted" else [3.0])
    if scale in ("learned", "each"):
        likelihood.raw_scale.data.fill_(-1.0)
    assert likelihood(params).base_dist.scale.item() == 0.5
    assert "min_scale=0.5" in repr(likelihood)
    wide = likelihood(torch.tensor([3.0, 1.0])).base_dist.scale if scale == "predicted" else None
    assert wide is None or wide.item() == pytest.approx(math.e, rel=0.02)


def test_a_floor_is_not_negative(says):
    with says(SettingError, "min_scale", "at least 0", "-1"):
        Normal(1, min_scale=-1.0)


# ------------------------------------------------------------------------------- where training starts


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


@pytest.mark.parametrize("scale", ["learned", "each", "predicted"])
def test_training_does_not_depend_on_the_units_of_the_data(scale):
    x = torch.randn(500, 2) * torch.tensor([1.0, 2.0]) + 3
    small, large = Normal(2, scale), Normal(2, scale)
    params, same = small.start(x), large.start(1e5 * x)
    torch.testing.assert_close(params, same)
    moved = params + 0.3
    shifted = small(moved).log_prob(x) - 2 * math.log(1e5)
    torch.testing.assert_close(large(moved).log_prob(1e5 * x), shifted, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------- support


@pytest.mark.parametrize(
    ("likelihood", "values", "words"),
    [
        (Normal(2, 0.3), [math.nan, 0.0], ["Normal", "finite"]),
        (Normal(2), [math.inf, 0.0], ["Normal", "finite"]),
        (Normal(2, "predicted"), [-math.inf, 0.0], ["Normal", "finite"]),
        (Laplace(2), [math.nan, 0.0], ["Laplace", "finite"]),
        (StudentT(2), [math.nan, 0.0], ["StudentT", "finite"]),
        (LogNormal(2), [0.0, 1.0], ["LogNormal", "x > 0", "0 to 1", "Poisson()"]),
        (LogNormal(2), [math.nan, 1.0], ["LogNormal", "nan"]),
    ],
)
def test_values_outside_the_support(likelihood, values, words, says):
    with says(SupportError, *words):
        likelihood.check(torch.tensor([values]))


def test_the_support_has_its_edges():
    Normal(3).check(torch.tensor([[-1e9, 0.2, 1e9]]))


def test_a_family_of_locations_and_scales_has_members(says):
    with says(TypeError, "abstract", "member"):
        LocationScale(3)


def test_repr():
    assert repr(Normal(5, scale=0.3)) == "Normal((5,), scale=0.3)"
    assert repr(Normal(5)) == "Normal((5,), scale='learned')"
    assert repr(Laplace(5, 0.3)) == "Laplace((5,), scale=0.3)"
    assert repr(LogNormal(5, 1, min_scale=0.1)) == "LogNormal((5,), scale=1, min_scale=0.1)"
