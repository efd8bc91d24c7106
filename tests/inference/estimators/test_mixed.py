"""The detector and the transformer on tables with gaps, text, dates and categories: the imputer's pair."""

import numpy as np
import pandas as pd
import pytest

from pyrovae.errors import CellError, DataError
from pyrovae.inference import VAEDetector, VAEImputer, VAETransformer

QUICK = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "random_state": 0, "device": "cpu", "compile": False}
BOTH = pytest.mark.parametrize("kind", [VAEDetector, VAETransformer])


def people(size, seed=0, gaps=0.2):
    """Two groups, which all columns tell apart."""
    generator = np.random.default_rng(seed)
    group = generator.integers(2, size=size)
    days = pd.to_timedelta(300 * group + generator.integers(30, size=size), unit="D")
    frame = pd.DataFrame(
        {
            "height": 170 + 20 * group + generator.normal(size=size),
            "visits": pd.array(generator.poisson(2 + 20 * group), dtype="Int64"),
            "city": np.array(["Bonn", "Oslo"], dtype=object)[group],
            "day": pd.Timestamp("2020-01-01") + days,
            "sex": group * 1.0,
        }
    )
    return frame.mask(generator.random(frame.shape) < gaps)


@pytest.fixture(scope="module")
def frame():
    return people(60)


@BOTH
def test_the_kinds_are_those_of_the_imputer(kind, frame):
    estimator = kind(**QUICK).fit(frame)
    imputed = VAEImputer(**QUICK, num_particles=2).fit(frame).table_
    assert estimator.table_ == (imputed.opened() if kind is VAEDetector else imputed)
    assert [column.kind for column in estimator.table_.columns] == ["real", "count", "category", "date", "category"]
    assert estimator.feature_names_in_.tolist() == list(frame.columns)
    assert estimator.n_features_in_ == 5
    assert estimator.mean_[0] == pytest.approx(frame["height"].mean())
    assert estimator.scale_[2] == 1


@BOTH
def test_arrays_with_gaps_and_arrays_of_objects(kind):
    x = np.random.default_rng(0).normal(size=(20, 3))
    x[::4, 1] = np.nan
    fitted = kind(**QUICK).fit(x)
    assert fitted.mixed_
    objects = people(20).astype(object).to_numpy()[:, [0, 2]]
    assert [column.kind for column in kind(**QUICK).fit(objects).table_.columns] == ["real", "category"]
    assert kind(**QUICK).fit(x[:, ::2].astype(object)).mixed_ is False  # objects, but numbers
    objects[3, 1] = {"city": "Bonn"}
    with pytest.raises(CellError, match="got dict"):
        kind(**QUICK).fit(objects)


@BOTH
def test_numbers_without_gaps_are_numbers_unless_kinds_are_given(kind, says):
    numbers = people(30, gaps=0)[["height", "visits", "sex"]]
    assert not kind(**QUICK).fit(numbers).mixed_
    ready = kind(**QUICK, kinds={"visits": "real"}).fit(numbers)
    assert [column.kind for column in ready.table_.columns] == ["real", "real", "category"]
    with_gaps = numbers.mask(numbers["height"] > 185)
    assert len(ready.transform(with_gaps) if kind is VAETransformer else ready.predict(with_gaps)) == 30


@BOTH
def test_what_is_wrong_is_a_typed_error(kind, frame, says):
    estimator = kind(**QUICK).fit(frame)
    call = estimator.transform if kind is VAETransformer else estimator.predict
    if kind is VAETransformer:
        with says(DataError, "'city'", "'Rome'"):
            call(frame.assign(city="Rome"))
    with says(DataError, "lacks 'city'"):
        call(frame.drop(columns="city"))
    with says(DataError, "'height'", "infinity"):
        call(frame.assign(height=np.inf))
    with says(DataError, "likelihood='bernoulli'", "Leave out likelihood"):
        kind(**QUICK, likelihood="bernoulli").fit(frame)
    with says(DataError, "minimum of 2 rows"):
        kind(**QUICK, kinds={}).fit(people(9, gaps=0).head(1))
    call(frame[list(frame.columns)[::-1]])  # the order of the columns does not matter


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_category_that_was_never_seen_is_an_anomaly(epochs):
    detector = VAEDetector(**{**QUICK, "epochs": epochs}).fit(people(300))
    clean = people(40, seed=1, gaps=0)
    new = clean.assign(city="Rome")
    assert (detector.score_samples(new) < detector.score_samples(clean) - 1).all()
    assert (detector.explain(new)["city"] > detector.explain(clean)["city"] + 1).all()
    assert (detector.score_samples(new) == detector.score_samples(new.assign(city="Lima"))).all()


def test_without_training_a_new_category_has_the_probability_of_one_count(tmp_path):
    frame = people(50, gaps=0)[["city"]]
    detector = VAEDetector(random_state=0, device="cpu").fit(frame)
    counts = frame["city"].value_counts()
    rows = pd.DataFrame({"city": ["Bonn", "Rome", None]})
    exact = [np.log((counts["Bonn"] + 1) / 53), np.log(1 / 53), 0.0]
    np.testing.assert_allclose(detector.score_samples(rows), exact, atol=1e-5)
    detector.save(tmp_path / "detector")
    np.testing.assert_array_equal(
        VAEDetector.load(tmp_path / "detector").score_samples(rows), detector.score_samples(rows)
    )


FORMS = {
    "integers": lambda draw: draw.integers(0, 50, (80, 3)),
    "booleans": lambda draw: draw.random((80, 3)) < 0.3,
    "lists": lambda draw: draw.normal(size=(80, 2)).tolist(),
    "text": lambda draw: draw.choice(["x", "y"], (80, 2)),
    "gaps": lambda draw: np.where(draw.random((80, 3)) < 0.2, np.nan, draw.normal(size=(80, 3))),
    "objects": lambda draw: people(80).astype(object).to_numpy()[:, [0, 1, 2, 4]],
    "nullable": lambda draw: people(80).convert_dtypes(),
    "categories": lambda draw: people(80).astype({"city": "category"}),
    "one constant column": lambda draw: people(80).assign(unit="kg"),
    "index": lambda draw: people(80).set_index(pd.Index([f"row {place}" for place in range(80)])),
    "whole numbers as names": lambda draw: people(80).set_axis([3, 1, 4, 0, 2], axis=1),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_detector_takes_what_its_users_have(form):
    rows = FORMS[form](np.random.default_rng(0))
    detector = VAEDetector(random_state=0, device="cpu").fit(rows)
    scores, reasons = detector.score_samples(rows), detector.explain(rows)
    assert scores.shape == (80,)
    assert np.isfinite(scores).all()
    assert np.unique(scores).size > 1
    assert np.isfinite(np.asarray(reasons, dtype=float)).all()
    assert 0 < (detector.predict(rows) == -1).sum() < 10 or form == "text"  # four kinds of rows, 20 of each
    if isinstance(rows, pd.DataFrame):
        assert reasons.index.equals(rows.index)
        assert reasons.columns.equals(rows.columns)


@pytest.mark.slow
def test_a_row_that_contradicts_itself_is_an_anomaly():
    detector = VAEDetector(**{**QUICK, "epochs": 80}, learning_rate=2e-2, contamination=0.02).fit(people(300))
    clean = people(60, seed=1, gaps=0)
    odd = clean.assign(height=360 - clean["height"])  # the height of the other group
    assert (detector.predict(clean) == 1).mean() > 0.8
    assert (detector.predict(odd) == -1).mean() > 0.8
    explained = detector.explain(clean.assign(city=pd.Series([None] * 60, dtype=object)))
    assert (explained.iloc[:, 2] == 0).all()
    assert explained.shape == (60, 5)
    training = people(300)
    assert np.abs(np.ma.masked_array(detector.explain(training), training.isna()).mean(0)).max() < 1e-8


@pytest.mark.parametrize("score", ["error", "error+rate", "complexity"])
def test_scores_of_numbers_are_refused(score, frame, says):
    with says(DataError, "numbers without gaps", f"kind='{score}'", "kind='elbo'"):
        VAEDetector(**QUICK, kind=score).fit(frame)


@pytest.mark.slow
def test_codes_of_a_frame_and_rows_of_codes(frame):
    transformer = VAETransformer(**{**QUICK, "epochs": 60}, learning_rate=2e-2).fit(people(200))
    codes = transformer.set_output(transform="pandas").transform(frame)
    assert list(codes.columns) == ["vaetransformer0", "vaetransformer1"]
    assert codes.index.equals(frame.index)
    rows = transformer.inverse_transform(codes)
    assert list(rows.columns) == list(frame.columns)
    known = frame["city"].notna()
    assert (rows["city"] == frame["city"])[known].mean() > 0.9
    assert rows["day"].dtype.kind == "M"
    for drawn in (transformer.sample(40, random_state=1), transformer.sample(40, mean=True, random_state=1)):
        assert set(drawn["city"]) == {"Bonn", "Oslo"}
        assert set(drawn["sex"]) == {0.0, 1.0}
        assert drawn["height"].between(140, 220).all()
        assert (drawn["visits"] >= 0).all()


def test_the_most_probable_category_is_no_mean_of_numbers():
    """Of three values, the first and the last are likely: the mean of their numbers is the middle one."""
    ends = np.random.default_rng(0).choice(["a", "b", "c"], p=[0.48, 0.04, 0.48], size=400)
    transformer = VAETransformer(**{**QUICK, "epochs": 20}).fit(pd.DataFrame({"end": ends, "one": 1.0}))
    assert "b" not in set(transformer.inverse_transform(np.zeros((1, 2)))["end"])


def test_the_score_is_in_the_units_of_the_observed_cells(frame):
    """In metres in place of centimetres, each observed height has log 100 nats of density more."""
    transformer = VAETransformer(**QUICK).fit(frame)
    metres = frame.assign(height=frame["height"] / 100)
    other = VAETransformer(**QUICK).fit(metres)
    more = np.log(100) * frame["height"].notna().mean()
    assert other.score(metres) - transformer.score(frame) == pytest.approx(more, abs=1e-3)


@BOTH
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.inf, ["'income'", "infinity", "Write NaN"]),
        (-np.inf, ["'income'", "infinity"]),
        (1j * np.arange(60), ["'income'", "real numbers", "map(abs)"]),
        (1e200 * np.arange(60), ["'income'", "up to 1e+150", "frame['income'] / 5.9e+201"]),
    ],
)
def test_numbers_that_no_column_can_have_are_refused(kind, values, words, frame, says):
    with says(DataError, *words):
        kind(**QUICK).fit(frame.assign(income=values))


def test_frames_come_out_where_frames_went_in(frame):
    """Of numbers, and of several kinds: names and index stay, and arrays stay arrays."""
    numbers = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=list("abc"), index=range(7, 47))
    for rows in (numbers, frame):
        detector, transformer = (kind(**QUICK).fit(rows) for kind in (VAEDetector, VAETransformer))
        explained = detector.explain(rows)
        assert list(explained.columns) == list(rows.columns)
        assert explained.index.equals(rows.index)
        assert list(transformer.sample(3).columns) == list(rows.columns)
        assert list(transformer.inverse_transform(transformer.transform(rows)).columns) == list(rows.columns)
        assert detector.table_.names == list(rows.columns)
        assert "height" in str(detector.table_) or "real" in str(detector.table_)
    array = numbers.to_numpy()
    fitted = VAEDetector(**QUICK).fit(array)
    assert isinstance(fitted.explain(array), np.ndarray)
    assert isinstance(VAETransformer(**QUICK).fit(array).sample(3), np.ndarray)
    explained = fitted.explain(numbers.set_axis(range(3), axis=1))
    np.testing.assert_allclose(explained, fitted.explain(array), rtol=1e-12)
    assert fitted.table_.names == [0, 1, 2]
    years = numbers.set_axis([1990, 2000, 2010], axis=1)
    assert list(VAEDetector(**QUICK).fit(years).explain(years).columns) == [1990, 2000, 2010]


@pytest.mark.parametrize("kind", [VAEDetector, VAEImputer, VAETransformer])
def test_a_positional_argument_is_refused_by_the_name_of_the_class(kind):
    with pytest.raises(TypeError, match=f"^{kind.__name__}"):
        kind(2)
