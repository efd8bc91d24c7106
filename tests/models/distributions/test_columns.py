"""The joint distribution of the columns of a table is a product."""

import pyro.distributions as dist
import pytest
import torch

from pyrovae.models.distributions import Columns


@pytest.fixture
def columns():
    normal, count = dist.Normal(torch.zeros(5, 2), 1.0).to_event(1), dist.Poisson(torch.ones(1)).to_event(1)
    return Columns([normal, count], validate_args=True)


def test_its_density_is_the_product_of_its_parts(columns):
    assert (columns.batch_shape, columns.event_shape) == ((5,), (3,))
    x = columns.sample((4,))
    assert x.shape == (4, 5, 3)
    (normal, real), (poisson, count) = columns.split(x)
    assert (real.shape[-1], count.shape[-1]) == (2, 1)
    torch.testing.assert_close(columns.log_prob(x), normal.log_prob(real) + poisson.log_prob(count))
    assert columns.mean.shape == (5, 3)


def test_a_row_is_in_the_support_of_each_part(columns, says):
    x = columns.sample()
    assert columns.support.check(x).all()
    x[2, 2] = 0.5
    assert columns.support.check(x).tolist() == [True, True, False, True, True]
    with says(ValueError, "support"):
        columns.log_prob(x)
    assert "columns" in repr(columns.support)
