"""The synthesizer of data frames: new rows with the types, categories, gaps and ranges of the old ones."""

import numpy as np
import pytest

from pyrovae.errors import DataError, SettingError

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from pyrovae.inference.estimators.synthesizer import VAESynthesizer  # noqa: E402

SMALL = {"latent_dim": 2, "hidden": (8,), "num_particles": 3, "epochs": 2, "num_samples": 20, "compile": False}
SMALL |= {"components": 3, "random_state": 0}


@pytest.mark.slow
@parametrize_with_checks([VAESynthesizer(**SMALL, device="cpu")])
def test_what_scikit_learn_checks(estimator, check):
    check(estimator)


def made(rows=80):
    """Two groups: the city determines the height, and whether the price is missing."""
    draw = np.random.default_rng(0)
    group = draw.integers(2, size=rows)
    return pd.DataFrame(
        {
            "height": (170 + 20 * group + draw.normal(size=rows)).round(1),
            "visits": draw.integers(0, 5, rows),
            "year": draw.integers(1900, 2000, rows).astype("int32"),
            "city": np.where(group == 1, "Oslo", "Bonn"),
            "size": pd.Categorical(draw.choice(["s", "l"], rows), categories=["s", "m", "l"], ordered=True),
            "member": draw.random(rows) < 0.5,
            "price": np.where(group == 1, np.nan, draw.normal(size=rows)),
            "day": pd.date_range("2020-01-01", periods=rows, tz="Europe/Oslo"),
            "kind": pd.Categorical(draw.choice(["a", "b"], rows)),
            "points": pd.array(np.where(draw.random(rows) < 0.4, None, draw.integers(0, 90, rows)), dtype="Int64"),
        }
    ).astype({"city": object})


@pytest.fixture(scope="module")
def frame():
    return made()


@pytest.fixture(scope="module")
def fitted(frame):
    return VAESynthesizer(**SMALL).fit(frame)


@pytest.fixture(scope="module")
def learned(frame):
    options = SMALL | {"epochs": 150, "learning_rate": 0.01, "batch_size": 40}
    return VAESynthesizer(**options).fit(frame[["height", "visits", "city", "price"]])


def test_new_rows_have_the_form_of_the_old_ones(frame, fitted):
    new = fitted.sample(400)
    assert new.shape == (400, 10)
    assert (new.dtypes == frame.dtypes).all()
    for name in ("height", "visits", "year", "price"):
        low, high = frame[name].min(), frame[name].max()
        assert new[name].dropna().between(low, high).all(), name
    assert set(new["city"]) == {"Oslo", "Bonn"}
    assert list(new["size"].cat.categories) == ["s", "m", "l"]
    np.testing.assert_allclose(new["height"], new["height"].round(1), atol=1e-9)
    assert not new.drop(columns=["price", "points"]).isna().any().any()
    assert 0 < new["points"].isna().mean() < 1
    assert (new["day"] - frame["day"].mean()).abs().max() < pd.Timedelta(days=41)
    assert not new.equals(fitted.sample(400, seed=1))
    pd.testing.assert_frame_equal(new, fitted.sample(400))


@pytest.mark.slow
def test_what_belongs_together_stays_together(learned, frame):
    """The city determines the height, and whether the price is missing."""
    new = learned.sample(600)
    height = new.groupby("city")["height"].mean()
    assert height["Oslo"] - height["Bonn"] == pytest.approx(20, abs=4)
    gaps = new["price"].isna().groupby(new["city"]).mean()
    assert gaps["Oslo"] > 0.9 > 0.1 > gaps["Bonn"]
    assert learned.score(frame[learned.feature_names_in_]) > VAESynthesizer(**SMALL).fit(
        frame[learned.feature_names_in_]
    ).score(frame[learned.feature_names_in_])


@pytest.mark.slow
def test_conditional_rows_by_weights(learned):
    new = learned.sample(200, given={"city": "Oslo", "visits": 2})
    assert (new["city"] == "Oslo").all()
    assert (new["visits"] == 2).all()
    assert new["height"].mean() == pytest.approx(190, abs=4)
    assert new["price"].isna().mean() > 0.9
    assert 100 < new.attrs["effective_sample_size"] <= 10_000
    gap = learned.sample(200, given={"price": None})
    assert gap["price"].isna().all()
    assert (gap["city"] == "Oslo").mean() > 0.9


def test_what_is_given_is_kept(frame, fitted):
    given = {"price": 0.123456789, "day": "2020-02-01", "height": 500.0, "kind": "b", "points": None, "year": 1950}
    new = fitted.sample(20, given=given, proposals=50)
    assert (new.dtypes == frame.dtypes).all()
    for name in ("price", "height", "kind", "year"):
        assert (new[name] == given[name]).all(), name
    assert new["points"].isna().all()
    assert 1 <= new.attrs["effective_sample_size"] < 50
    assert (new["day"].dt.tz_convert("UTC") - pd.Timestamp("2020-02-01", tz="UTC")).abs().max() < pd.Timedelta("10s")


def test_log_p_of_held_out_rows_chooses(frame, fitted):
    """In the units of the columns: in another unit, the density of a column is divided by the unit."""
    scores = fitted.score_samples(frame)
    assert scores.shape == (80,)
    assert fitted.score(frame) == pytest.approx(scores.mean())
    table = np.random.default_rng(0).normal(size=(40, 2))
    metres, millimetres = (VAESynthesizer(**SMALL).fit(unit * table).score(unit * table) for unit in (1.0, 1000.0))
    assert metres - millimetres == pytest.approx(2 * np.log(1000), abs=1e-3)


def test_how_near_is_measured(frame, fitted):
    found = fitted.nearness(frame, frame.sample(60, replace=True, random_state=0).assign(year=1950), size=50)
    assert found.synthetic.shape == (50,)
    assert found.held_out.shape == (60,)
    assert 0 < found.held_out.max() < 0.2  # the year alone differs: one of 12 columns
    assert 0 <= found.near <= 1
    assert "nearest training row" in str(found)
    copied = fitted.nearness(frame, frame)
    assert copied.copies[1] == 1
    assert copied.held_out.max() == 0


def test_arrays(says):
    table = np.column_stack([np.random.default_rng(0).normal(size=50), np.arange(50) % 3])
    table[::5, 0] = np.nan
    fitted = VAESynthesizer(**SMALL).fit(table)
    new = fitted.sample(30)
    assert isinstance(new, np.ndarray)
    assert new.shape == (30, 2)
    assert np.isfinite(fitted.score_samples(table)).all()
    assert (fitted.sample(5, given={1: 2.0})[:, 1] == 2).all()


def test_it_loads_what_it_saved(frame, fitted, tmp_path):
    loaded = VAESynthesizer.load(fitted.save(tmp_path / "it"))
    pd.testing.assert_frame_equal(loaded.sample(20), fitted.sample(20))
    np.testing.assert_array_equal(loaded.score_samples(frame), fitted.score_samples(frame))


def test_it_is_an_estimator(frame, fitted):
    assert clone(fitted).get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        VAESynthesizer().sample(3)
    kinds = VAESynthesizer(**SMALL, kinds={"visits": "count"}).fit(frame).table_
    assert {column.name: column.kind for column in kinds.columns}["visits"] == "count"


def test_it_says_what_is_wrong(frame, fitted, says):
    with says(SettingError, "components", "0"):
        VAESynthesizer(**SMALL | {"components": 0}).fit(frame)
    with says(DataError, "given columns", "'town'"):
        fitted.sample(3, given={"town": "Oslo"})
    with says(DataError, "'city'", "'Rome'"):
        fitted.sample(3, given={"city": "Rome"})
    with says(DataError, "no gaps", "'city'"):
        fitted.sample(3, given={"city": None})
    with says(SettingError, "size", "0"):
        fitted.sample(0)
    with says(DataError, "'price is missing'", "rename"):
        VAESynthesizer(**SMALL).fit(frame.assign(**{"price is missing": 1}))
