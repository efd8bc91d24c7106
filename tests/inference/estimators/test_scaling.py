"""Columns as the detector sees them: reals, few values as categories, and values that were never seen."""

import numpy as np
import pytest

from pyrovae.errors import DataError
from pyrovae.inference import VAEDetector
from pyrovae.inference.estimators.scaling import FEW, ColumnScaling
from pyrovae.models import likelihoods

QUICK = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "num_samples": 4, "random_state": 0, "device": "cpu"}


def table(size=200, seed=0):
    """Reals, few values, reals with a heavy tail, two values, one value."""
    draw = np.random.default_rng(seed)
    columns = [
        draw.normal(5, 3, size),
        draw.integers(0, 7, size) / 2,
        np.exp(3 * draw.normal(size=size)),
        draw.integers(0, 2, size),
        np.full(size, 4.0),
    ]
    return np.stack(columns, 1)


def test_columns_come_in_blocks():
    scaling = ColumnScaling.of(table())
    assert scaling.order.tolist() == [0, 2, 3, 4, 1]
    likelihood = scaling.likelihood(trained=True)
    assert [type(part) for part in likelihood.columns] == [likelihoods.Normal, *[likelihoods.Categorical] * 2]
    assert likelihood.widths == [2, 2, 1]
    assert likelihood.params_shape == (2 + 2 * 3 + 8,)


def test_without_training_a_decoder_emits_the_reals_alone():
    likelihood = ColumnScaling.of(table()).likelihood(trained=False)
    assert [type(part) for part in likelihood.columns] == [likelihoods.Normal, *[likelihoods.Marginal] * 2]
    assert likelihood.params_shape == (2,)
    assert ColumnScaling.of(table()[:, [1, 3]]).likelihood(trained=False).params_shape == (0,)


@pytest.mark.parametrize("columns", [[0, 1, 2, 3, 4], [1, 3]])
def test_without_training_categories_of_the_decoder_would_score_alike(columns, monkeypatch):
    """The decoder of a pair that is not trained emits the marginals, whatever z is; `Marginal` is the shorter way."""
    rows, others = table()[:, columns], table(50, seed=1)[:, columns]
    short = VAEDetector(random_state=0, device="cpu").fit(rows)
    emitted = ColumnScaling.of(rows).likelihood(trained=True)
    monkeypatch.setattr(ColumnScaling, "likelihood", lambda scaling, trained: emitted)
    long = VAEDetector(random_state=0, device="cpu").fit(rows)
    assert long.model_.likelihood.params_shape != short.model_.likelihood.params_shape
    np.testing.assert_allclose(short.score_samples(others), long.score_samples(others), rtol=1e-12)
    np.testing.assert_allclose(short.explain(others), long.explain(others), atol=1e-6)


@pytest.mark.parametrize("columns", [[0, 1, 2, 3], [1, 3]])
def test_a_folder_holds_marginals(columns, tmp_path):
    rows = table()[:, columns]
    detector = VAEDetector(random_state=0, device="cpu").fit(rows)
    detector.save(tmp_path / "detector")
    again = VAEDetector.load(tmp_path / "detector")
    assert np.array_equal(again.score_samples(rows), detector.score_samples(rows))


def test_reals_are_standardised():
    rows = table()
    scaled = ColumnScaling.of(rows)(rows)
    assert scaled[:, :2].mean(0) == pytest.approx(0, abs=1e-9)
    assert scaled[:, :2].std(0) == pytest.approx(1)


def test_few_values_are_numbered_and_a_new_one_is_the_last():
    scaling = ColumnScaling.of(table())
    rows = table()[:3]
    rows[:, 1], rows[:, 3], rows[:, 4] = [0.0, 3.0, 0.7], [0, 1, 2], [4.0, 5.0, -1e9]
    scaled = scaling(rows)
    assert scaled[:, 4].tolist() == [0, 6, 7]
    assert scaled[:, 2].tolist() == [0, 1, 2]
    assert scaled[:, 3].tolist() == [0, 1, 1]
    assert len(scaling.values[1]) == 7 <= FEW


def test_a_new_value_is_an_anomaly_and_its_column_is_named():
    detector = VAEDetector(**QUICK).fit(table())
    clean, new = table(50, seed=1), table(50, seed=1)
    new[:, 1] = 9.5
    assert detector.score_samples(new).max() < np.median(detector.score_samples(clean))
    assert (detector.explain(new).argmax(1) == 1).mean() > 0.9


def test_without_training_a_table_of_few_values_has_its_marginals():
    rows = table()[:, [1, 3]]
    detector = VAEDetector(epochs=0, trim=0.0, random_state=0, device="cpu").fit(rows)
    counts = [{value: (rows[:, place] == value).sum() + 1 for value in np.unique(rows[:, place])} for place in (0, 1)]
    shares = [np.log([counts[place][value] for value in rows[:, place]]) for place in (0, 1)]
    exact = shares[0] - np.log(len(rows) + 8) + shares[1] - np.log(len(rows) + 3)
    assert detector.score_samples(rows) == pytest.approx(exact, abs=1e-5)


def test_errors_are_of_numbers_alone(says):
    detector = VAEDetector(**QUICK, kind="error").fit(table())
    assert not detector.scaling_.has_categories
    assert np.isfinite(detector.score_samples(table())).all()
    with says(DataError, "fitted with kind='error'", "VAEDetector(kind='error').fit(table)"):
        VAEDetector(**QUICK).fit(table()).set_params(kind="error").score_samples(table())
