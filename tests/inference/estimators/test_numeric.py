"""What the detector and the transformer share: tables of numbers, their columns, their likelihoods."""

import numpy as np
import pandas as pd
import pytest

from pyrovae.errors import DataError, SupportError
from pyrovae.inference.estimators.detector import VAEDetector
from pyrovae.inference.estimators.numeric import NumericEstimator
from pyrovae.inference.estimators.transformer import VAETransformer
from pyrovae.models import likelihoods

QUICK = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "num_samples": 4, "random_state": 0, "device": "cpu"}


def line(size, seed=0):
    """Rows near a line in R^4; the third column is noise."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(size, 1)) * [1.0, -2.0, 0.0, 3.0] + 0.1 * generator.normal(size=(size, 4))
    x[:, 2] = generator.normal(size=size)
    return 10 * x + 50


def test_a_likelihood_of_ones_own_takes_counts_as_they_are():
    counts = np.random.default_rng(0).poisson(3.0, size=(60, 4))
    detector = VAEDetector(**QUICK, likelihood=likelihoods.Poisson).fit(counts)
    assert (detector.mean_ == 0).all()
    assert np.isfinite(detector.score_samples(counts)).all()


def test_gaps_and_text_in_a_call_are_refused_where_the_training_data_had_none(says):
    frame = pd.DataFrame(line(20), columns=list("abcd"))
    detector = VAEDetector(**QUICK).fit(frame)
    gaps = frame.where(frame["a"] > 50)
    refused = {
        "missing cells in column 'a'": [gaps, gaps.astype(object).where(gaps.notna(), pd.NA), gaps.astype("Float64")],
        "'red' in column 'b'": [frame.assign(b="red")],
    }
    for words, frames in refused.items():
        for table in frames:
            with says(DataError, "VAEDetector was fitted to numbers without gaps", words, "VAEImputer", "kinds={}"):
                detector.predict(table)
    with says(DataError, "VAEDetector was fitted to numbers without gaps", "missing cells in column 0"):
        VAEDetector(**QUICK).fit(line(20)).predict(gaps.to_numpy())
    with pytest.raises(ValueError, match="contains infinity"):
        VAEDetector(**QUICK).fit(line(20)).predict(np.full((2, 4), np.inf))


def test_columns_are_known_by_name():
    frame = pd.DataFrame(line(40), columns=list("abcd"))
    detector = VAEDetector(**QUICK).fit(frame)
    assert list(detector.feature_names_in_) == list("abcd")
    assert detector.score_samples(frame) == pytest.approx(detector.score_samples(frame.iloc[::-1])[::-1])
    with pytest.raises(ValueError, match="unseen at fit time:\n- e"):
        detector.predict(frame.rename(columns={"b": "e"}))
    with pytest.warns(UserWarning, match="feature names"), pytest.raises(ValueError, match="4 features"):
        detector.predict(frame[["a", "b"]].to_numpy())


def test_data_outside_the_support(says):
    with says(SupportError, "Bernoulli"):
        VAEDetector(**QUICK, likelihood="bernoulli").fit(line(20))


@pytest.mark.parametrize("kind", [VAEDetector, VAETransformer])
def test_an_unknown_likelihood(kind, says):
    with says(DataError, kind.__name__, "no likelihood 'gauss'", "normal-predicted"):
        kind(likelihood="gauss").fit(line(20))


@pytest.mark.parametrize("kind", [VAEDetector, VAETransformer])
def test_a_column_is_standardised_where_the_likelihood_is_of_all_reals(kind):
    x = line(20)
    settings = {"latent_dim": 2, "hidden": (8,), "epochs": 1, "random_state": 0}
    assert kind(**settings).fit(x).mean_ == pytest.approx(x.mean(0))
    assert (kind(**settings, standardize=False).fit(x).scale_ == 1).all()
    assert (kind(**settings, likelihood="bernoulli-grey").fit((x > 50).astype(float)).mean_ == 0).all()


def test_a_kind_of_estimator_has_its_hooks(says):
    with says(TypeError, "abstract", "_after_training", "_check_parameters"):
        NumericEstimator()
