"""Tables with columns of several kinds."""

import torch

from pyrovae.errors import ShapeError, SupportError
from pyrovae.models.likelihoods import Bernoulli, Categorical, Heterogeneous, LogNormal, Normal, Ordinal, Poisson


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


def test_it_is_the_product_of_its_columns():
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


def test_it_starts_where_its_columns_do():
    likelihood = table()
    x = likelihood(torch.randn(10)).sample((500,))
    start = likelihood.start(x)
    assert start.shape == likelihood.params_shape
    torch.testing.assert_close(start[2:3], LogNormal(1).start(x[:, 1:2]))
    assert likelihood.columns[1].unit != 1


def test_it_names_the_column(says):
    likelihood = table()
    x = likelihood(torch.randn(4, 10)).sample()
    likelihood.check(x)
    x[1, 2] = 0.5
    with says(SupportError, "column 'visits'", "Poisson", "0.5", "raw counts"):
        likelihood.check(x)


def test_it_requires_columns(says):
    with says(ShapeError, "no column", "Normal(1)"):
        Heterogeneous({})
    with says(ShapeError, "'picture'", "(1, 4, 4)"):
        Heterogeneous({"age": Normal(1), "picture": Bernoulli((1, 4, 4))})


def test_a_column_may_have_any_name():
    assert "type, a.b" in repr(Heterogeneous({"type": Normal(1), "a.b": Poisson(1)}))
