"""The features that an encoder sees of a table's rows, and the likelihoods of its columns."""

import numpy as np
import pytest
import torch

from pyrovae.data import Table
from pyrovae.inference.estimators.columns import Features, table_likelihood
from pyrovae.models import likelihoods

pd = pytest.importorskip("pandas")


@pytest.fixture
def frame():
    """Two groups: the city determines height, visits and price, up to noise."""
    generator = np.random.default_rng(0)
    group = generator.integers(2, size=60)
    frame = pd.DataFrame(
        {
            "height": 170 + 20 * group + generator.normal(size=60),
            "visits": pd.array(generator.poisson(2 + 20 * group), dtype="Int64"),
            "city": np.where(group == 1, "Oslo", "Bonn"),
            "price": np.exp(3 * group + generator.normal(size=60) / 10),
            "planet": "Earth",
            "wheels": 4.0,
        }
    ).astype({"city": object, "planet": object})
    return frame.mask(generator.random(frame.shape) < 0.3)


def test_the_encoder_sees_no_hidden_value(frame):
    table = Table.of(frame, {"price": "positive"})
    batch = table.encode(frame)
    features = Features(table).fitted(batch["x"], batch["mask"])
    given = torch.cat([batch["x"], batch["mask"].float()], 1)
    seen = features(given)
    assert seen.shape == (60, features.size)
    assert seen.isfinite().all()
    hidden = given.clone()
    hidden[:, :6] = torch.where(batch["mask"], batch["x"], 1.0)
    assert torch.equal(features(hidden), seen)
    assert features(given.unsqueeze(0)).shape == (1, 60, features.size)
    city = table.names.index("city")
    place = sum(2 if name == "city" else 1 for name in table.names[:city])
    assert torch.equal(seen[:, place : place + 2].sum(1), batch["mask"][:, city].float())


def test_each_column_has_the_likelihood_of_its_kind(frame):
    likelihood = table_likelihood(Table.of(frame, {"price": "positive"}))
    expected = {
        "height": likelihoods.Normal,
        "visits": likelihoods.NegativeBinomial,
        "city": likelihoods.Categorical,
        "price": likelihoods.LogNormal,
        "planet": likelihoods.Categorical,
        "wheels": likelihoods.Normal,
    }
    assert dict(zip(likelihood.names, map(type, likelihood.columns), strict=True)) == expected
