"""The imputer of data frames: a frame comes back without gaps, and otherwise unchanged."""

import math

import numpy as np
import pytest

from pyrovae.errors import DataError, SettingError

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from pyrovae.inference.estimators.imputer import VAEImputer  # noqa: E402

SMALL = {"latent_dim": 2, "hidden": (8,), "num_particles": 3, "epochs": 2, "num_samples": 20, "compile": False}


@pytest.mark.slow
@parametrize_with_checks([VAEImputer(**SMALL, random_state=0, device="cpu")])
def test_what_scikit_learn_checks(estimator, check):
    check(estimator)


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


def fitted(frame, **options):
    return VAEImputer(kinds={"price": "positive"}, random_state=0, **SMALL | options).fit(frame)


def test_a_frame_comes_back_without_gaps(frame):
    imputer = fitted(frame)
    filled = imputer.transform(frame)
    assert list(filled.columns) == list(frame.columns)
    assert (filled.dtypes == frame.dtypes).all()
    assert filled.index.equals(frame.index)
    assert not filled.isna().any().any()
    assert filled.astype(object).where(frame.notna()).equals(frame.astype(object).where(frame.notna()))
    assert set(filled["city"]) <= {"Oslo", "Bonn"}
    assert (filled["planet"] == "Earth").all()
    assert (filled["wheels"] == 4).all()
    assert (filled["price"] > 0).all()
    assert imputer.transform(filled).equals(filled)  # nothing is missing
    assert imputer.get_feature_names_out().tolist() == list(frame.columns)
    assert frame.isna().any().any()  # the frame itself is left alone


def test_rows_without_a_value_and_columns_without_one_at_prediction(frame):
    imputer = fitted(frame, num_samples=500)
    empty = frame.mask(np.ones(frame.shape, dtype=bool)).head(3)
    filled = imputer.transform(empty)
    assert not filled.isna().any().any()
    assert 150 < filled["height"].iloc[0] < 210
    pd.testing.assert_series_equal(filled.iloc[0], filled.iloc[1], check_names=False, rtol=0.2)


@pytest.mark.slow
def test_it_learns_what_tells_what(frame):
    filled = fitted(frame, epochs=400, hidden=(32,), num_samples=300, learning_rate=5e-3).transform(frame)
    tall = frame["height"].isna() & frame["city"].eq("Oslo")
    small = frame["height"].isna() & frame["city"].eq("Bonn")
    assert filled.loc[tall, "height"].mean() == pytest.approx(190, abs=4)
    assert filled.loc[small, "height"].mean() == pytest.approx(170, abs=4)
    told = frame["city"].isna() & frame["height"].notna()
    assert (filled.loc[told, "city"].eq("Oslo") == frame.loc[told, "height"].gt(180)).mean() > 0.9


def test_draws_differ_and_intervals_hold_them(frame):
    imputer = fitted(frame)
    draws = imputer.sample(frame, 3)
    gap = frame["height"].isna()
    assert len(draws) == 3
    assert not draws[0].loc[gap, "height"].equals(draws[1].loc[gap, "height"])
    assert draws[0].loc[~gap, "height"].equals(frame.loc[~gap, "height"])
    low, high = imputer.interval(frame, num_imputations=19)
    assert (low.loc[gap, "height"] < high.loc[gap, "height"]).all()


def test_a_category_of_a_numeric_column_with_gaps(frame):
    """The values of the category were put back as objects: a TypeError, after the training."""
    generator = np.random.default_rng(0)
    frame["smoker"] = pd.Series(generator.integers(2, size=60)).mask(generator.random(60) < 0.3)
    assert frame["smoker"].dtype == float
    for kinds in ({"smoker": "category"}, {"smoker": "ordinal"}):
        filled = VAEImputer(kinds=kinds, random_state=0, **SMALL).fit_transform(frame)
        assert filled["smoker"].dtype == float
        assert set(filled["smoker"]) == {0.0, 1.0}
    assert VAEImputer(random_state=0, **SMALL).fit(frame).table_.columns[-1].kind == "category"


def test_a_table_without_real_columns():
    """No column has a linear part: the posterior of factor analysis is not in use, and not trained."""
    rows = np.random.default_rng(0).integers(0, 3, (60, 4)).astype(float)
    gaps = np.where(np.random.default_rng(1).random(rows.shape) < 0.2, np.nan, rows)
    imputer = VAEImputer(
        latent_dim=2, hidden=(8,), epochs=2, num_particles=3, kinds=dict.fromkeys(range(4), "category")
    )
    filled = np.asarray(imputer.fit_transform(gaps))
    assert (filled == rows)[~np.isnan(gaps)].all()
    assert set(np.unique(filled)) <= {0.0, 1.0, 2.0}


def test_dates_and_yes_or_no_come_back_as_what_they_are(frame):
    """A date was a category of as many values as rows, and a sex with gaps became 0.48."""
    generator = np.random.default_rng(0)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(generator.integers(300, size=60), unit="D")
    frame = frame.assign(
        day=pd.Series(days).where(generator.random(60) < 0.7), sex=generator.integers(2, size=60) / 1.0
    )
    frame["sex"] = frame["sex"].where(generator.random(60) < 0.7)
    imputer = fitted(frame)
    filled = imputer.transform(frame)
    assert filled["day"].dtype == frame["day"].dtype
    assert filled["day"].between("2019-06-01", "2021-06-01").all()
    assert set(filled["sex"]) == {0.0, 1.0}
    low, high = imputer.interval(frame, num_imputations=19)
    gap = frame["day"].isna()
    assert (low.loc[gap, "day"] <= high.loc[gap, "day"]).all()


def test_the_kinds_are_shown(frame, capsys):
    imputer = fitted(frame, verbose=True)
    shown = capsys.readouterr().out
    assert shown == f"{imputer.table_!r}\n"
    assert "city    category  Bonn, Oslo" in shown
    assert "price   positive" in shown


def test_names_of_the_columns(frame):
    imputer = fitted(frame)
    assert imputer.feature_names_in_.tolist() == list(frame.columns)
    x = np.random.default_rng(0).normal(size=(30, 3))
    x[::3, 0] = np.nan
    of_array = VAEImputer(random_state=0, **SMALL).fit(x)
    assert of_array.get_feature_names_out().tolist() == ["x0", "x1", "x2"]
    named = of_array.set_output(transform="pandas").transform(x)
    assert list(named.columns) == ["x0", "x1", "x2"]
    with pytest.raises(ValueError, match="2 features, but VAEImputer is expecting 3"):
        of_array.transform(x[:, :2])


def test_arrays_go_in_and_come_out():
    x = np.random.default_rng(0).normal(size=(30, 3))
    x[::3, 0] = np.nan
    filled = VAEImputer(random_state=0, **SMALL).fit_transform(x)
    assert isinstance(filled, np.ndarray)
    assert np.isfinite(filled).all()
    assert (filled[~np.isnan(x)] == x[~np.isnan(x)]).all()
    scaled = make_pipeline(VAEImputer(random_state=0, **SMALL), StandardScaler()).fit_transform(x)
    assert np.abs(scaled.mean(0)).max() < 1e-6


def test_the_same_seed_gives_the_same(frame):
    first, second = fitted(frame).transform(frame), fitted(frame).transform(frame)
    pd.testing.assert_frame_equal(first, second)
    assert clone(VAEImputer(epochs=7)).epochs == 7


def test_it_says_what_is_wrong(frame, says):
    with says(DataError, "'height'", "no value at all"):
        fitted(frame.assign(height=np.nan))
    with says(SettingError, "epochs requires a whole number of at least 0", "-1"):
        fitted(frame, epochs=-1)
    with pytest.raises(NotFittedError):
        VAEImputer().transform(frame)
    for empty in (frame.head(0), frame[[]]):
        with says(DataError, "VAEImputer requires rows and columns", str(empty.shape)):
            VAEImputer().fit(empty)
    imputer = fitted(frame)
    with says(DataError, "'city'", "'Rome'"):
        imputer.transform(frame.assign(city="Rome"))
    with says(DataError, "lacks 'city'"):
        imputer.transform(frame.drop(columns="city"))
    with says(DataError, "infinity"):
        imputer.transform(frame.assign(height=math.inf))
