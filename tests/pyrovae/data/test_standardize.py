"""Columns on one scale, and what a density gains by it."""

import copy
import math
import pickle

import pytest
import torch
from torch.distributions import Independent, Normal

from pyrovae import data
from pyrovae.data.standardize import column_scales
from pyrovae.errors import DataError, SettingError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import evaluate
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def table(rows=200, columns=4):
    units = torch.tensor([1.0, 1000.0, 0.01, 5.0])[:columns]
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)) * units + 3 * units


def test_columns_have_mean_0_and_standard_deviation_1():
    x = table()
    made = data.Standardize.of(x)({"x": x, "y": torch.zeros(200)})
    assert torch.allclose(made["x"].mean(0), torch.zeros(4), atol=1e-5)
    assert torch.allclose(made["x"].std(0, correction=0), torch.ones(4), atol=1e-5)
    assert torch.equal(made["y"], torch.zeros(200))


def test_the_way_back():
    x, transform = table(), data.Standardize.of(table())
    assert torch.allclose(transform.inverse(transform({"x": x})["x"]), x, rtol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_a_constant_column_keeps_its_scale(offset):
    x = table().double()
    x[:, 1] = offset + 0.1
    transform = data.Standardize.of(x)
    assert transform.scale[1] == 1.0
    assert (transform({"x": x})["x"][:, 1].abs() < 1e-5).all()


def test_whole_numbers_become_floats():
    x = torch.arange(12).reshape(4, 3)
    made = data.Standardize.of(x)({"x": x})["x"]
    assert made.dtype == torch.float32
    assert torch.allclose(made, (x - x.double().mean(0)).float() / x.double().std(0, correction=0).float())


def test_the_log_jacobian_makes_a_density_of_the_table():
    """log N(x; m, s) = log N((x - m) / s; 0, 1) + log_jacobian."""
    x, transform = table(), data.Standardize.of(table())
    mean, scale = torch.tensor(transform.mean), torch.tensor(transform.scale)
    exact = Independent(Normal(mean, scale), 1).log_prob(x)
    standard = Independent(Normal(torch.zeros(4), torch.ones(4)), 1).log_prob(transform({"x": x})["x"])
    assert torch.allclose(exact, standard + transform.log_jacobian, rtol=1e-4, atol=1e-4)
    assert transform.log_jacobian == pytest.approx(-sum(map(math.log, transform.scale)))


def test_an_evaluation_runs_through_it():
    torch.manual_seed(0)
    x = table()
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(4), MLP(2, (4,), [8]))
    guide, transform = NormalGuide(MLP((4,), 4, [8])), data.Standardize.of(x)
    direct = evaluate(model, guide, transform({"x": x}), num_samples=5)
    assert evaluate(model, guide, {"x": x}, num_samples=5, transform=transform).elbo == direct.elbo


def test_it_is_plain_and_travels():
    transform = data.Standardize.of(table())
    transform({"x": table()})
    for other in (pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform)):
        assert other == transform
        assert torch.equal(other({"x": table()})["x"], transform({"x": table()})["x"])
    assert repr(transform).startswith("Standardize(4 columns, log_jacobian=-")
    assert transform.prepare(transform.prepare({"x": table()}))["x"].equal(table())


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: data.Standardize((0.0,), (1.0, 2.0)), ShapeError),
        (lambda: data.Standardize((), ()), ShapeError),
        (lambda: data.Standardize((0.0,), (0.0,)), SettingError),
        (lambda: data.Standardize((math.nan,), (1.0,)), SettingError),
        (lambda: data.Standardize.of(torch.zeros(3)), ShapeError),
        (lambda: data.Standardize.of(torch.zeros(0, 3)), ShapeError),
        (lambda: data.Standardize.of(torch.full((3, 1), math.inf)), DataError),
        (lambda: data.Standardize.of(table()).prepare({"z": table()}), DataError),
        (lambda: data.Standardize.of(table()).prepare({"x": table()[:, :2]}), ShapeError),
        (lambda: data.Standardize.of(table())({"x": torch.zeros(2, 1, 4)}), ShapeError),
    ],
)
def test_what_is_no_table_is_refused(make, error):
    with pytest.raises(error):
        make()


def test_scales_of_columns():
    mean, scale = column_scales(table().double().numpy())
    assert mean == pytest.approx(table().double().mean(0).numpy())
    assert scale == pytest.approx(table().double().std(0, correction=0).numpy())
