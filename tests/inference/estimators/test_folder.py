"""Estimators as folders: the same numbers from a new object, and no code in the folder."""

import json
import re

import numpy as np
import pytest

import pyrovae
from pyrovae.errors import FolderError, OutputError
from pyrovae.inference import VAEDetector, VAEImputer, VAETransformer
from pyrovae.models import likelihoods

pandas = pytest.importorskip("pandas")
SMALL = {"latent_dim": 2, "hidden": (6,), "epochs": 2, "random_state": 0}


def frame(rows=30):
    draw = np.random.default_rng(0)
    made = pandas.DataFrame(
        {
            "real": draw.normal(size=rows),
            "count": draw.poisson(3, rows),
            "city": draw.choice(["a", "b", "c"], rows),
            "day": pandas.date_range("2020-01-01", periods=rows),
        }
    )
    made.loc[3, "real"] = np.nan
    return made


TABLE = np.random.default_rng(1).normal(3, 2, (30, 4))
CASES = {
    "imputer": (VAEImputer(**SMALL, num_particles=3, num_samples=20), frame(), "transform"),
    "imputer of an array": (VAEImputer(**SMALL, num_particles=3, num_samples=20), TABLE, "transform"),
    "detector": (VAEDetector(**SMALL, num_samples=5), TABLE, "score_samples"),
    "detector of a frame": (VAEDetector(**SMALL, num_samples=5), frame(), "score_samples"),
    "transformer": (VAETransformer(**SMALL), TABLE, "transform"),
    "transformer of a frame": (
        VAETransformer(**SMALL, likelihood="laplace"),
        pandas.DataFrame(TABLE).add_prefix("c"),
        "transform",
    ),
    "a class as a parameter": (VAETransformer(**SMALL, likelihood=likelihoods.StudentT), TABLE, "transform"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loaded_estimator_is_the_estimator(name, tmp_path):
    estimator, table, method = CASES[name]
    estimator.fit(table)
    loaded = type(estimator).load(estimator.save(tmp_path / "it"))
    assert repr(loaded) == repr(estimator)
    assert loaded.history_ == estimator.history_
    assert vars(loaded).keys() == vars(estimator).keys()
    mine, theirs = (getattr(one, method)(table) for one in (estimator, loaded))
    assert type(mine) is type(theirs)
    if isinstance(mine, np.ndarray):
        np.testing.assert_array_equal(mine, theirs)
    else:
        pandas.testing.assert_frame_equal(mine, theirs)
    if method == "transform":
        assert list(loaded.get_feature_names_out()) == list(estimator.get_feature_names_out())
    assert "history" in (tmp_path / "it" / "config.json").read_text()


def test_a_threshold_travels(tmp_path):
    detector = VAEDetector(**SMALL, num_samples=5).fit(TABLE).calibrate(TABLE, quantile=0.9)
    loaded = VAEDetector.load(detector.save(tmp_path / "it"))
    assert loaded.offset_ == detector.offset_
    np.testing.assert_array_equal(loaded.predict(TABLE), detector.predict(TABLE))
    np.testing.assert_array_equal(loaded.explain(TABLE), detector.explain(TABLE))


@pytest.fixture
def folder(tmp_path):
    return VAETransformer(**SMALL).fit(TABLE).save(tmp_path / "it")


def test_another_kind_is_refused(folder, says):
    with says(FolderError, "VAEDetector.load requires", "'VAETransformer'"):
        VAEDetector.load(folder)
    with says(FolderError, "a pair requires model, guide"):
        pyrovae.load(folder)


def test_a_folder_is_replaced_only_where_that_is_asked_for(folder, says):
    again = VAETransformer(**SMALL).fit(TABLE)
    with says(OutputError, "overwrite=True"):
        again.save(folder)
    again.save(folder, overwrite=True)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"pair": lambda x: None}, "parameter pair is the function"),
        ({"random_state": np.random.RandomState(0)}, "parameter random_state is a RandomState"),
    ],
    ids=["function", "generator"],
)
def test_a_parameter_that_a_folder_cannot_hold(parameters, words, tmp_path, says):
    estimator = VAETransformer(**SMALL).fit(TABLE).set_params(**parameters)
    with says(FolderError, words):
        estimator.save(tmp_path / "it")


def test_what_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        VAEImputer().save(tmp_path / "it")


@pytest.mark.parametrize("name", ["__class__", "fit", "set_params", "_check_settings", "A", "x y", ""])
def test_an_attribute_that_anyone_wrote(name, folder, says):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["roots"][f"attribute {name}"] = 1
    path.write_text(json.dumps(content))
    with says(FolderError, "other parameters or attributes"):
        VAETransformer.load(folder)


def test_a_history_that_anyone_wrote(folder, says):
    path = folder / "config.json"
    path.write_text(re.sub('"seconds"', '"code"', path.read_text()))
    with says(FolderError, "history"):
        VAETransformer.load(folder)
