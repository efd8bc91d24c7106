"""VAEDetector: scikit-learn's own checks, thresholds, explanations, edge cases."""

import pickle

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from pyrovae.errors import DataError, SettingError
from pyrovae.guides import FullNormalGuide
from pyrovae.inference.estimators.detector import SameNoise, VAEDetector
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

QUICK = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "num_samples": 4, "random_state": 0, "device": "cpu"}


@pytest.mark.slow
@parametrize_with_checks([VAEDetector(**QUICK)])
def test_what_scikit_learn_checks(estimator, check):
    check(estimator)


def line(size, seed=0):
    """Rows near a line in R^4; the third column is noise."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(size, 1)) * [1.0, -2.0, 0.0, 3.0] + 0.1 * generator.normal(size=(size, 4))
    x[:, 2] = generator.normal(size=size)
    return 10 * x + 50


@pytest.fixture(scope="module")
def trained():
    return VAEDetector(**{**QUICK, "epochs": 60, "num_samples": 16}, learning_rate=5e-3).fit(line(200))


# ------------------------------------------------------------------------------------------- what it detects


def test_rows_off_the_line_are_anomalous_and_the_column_is_named(trained):
    clean = line(100, seed=1)
    off = clean.copy()
    off[:, 0] += 60
    assert (trained.predict(clean) == 1).mean() > 0.8
    assert (trained.predict(off) == -1).all()
    assert (trained.explain(off).argmax(1) == 0).mean() > 0.6
    assert trained.explain(clean).mean(0) == pytest.approx(0, abs=0.6)


def test_explanations_of_the_training_rows_have_mean_zero(trained):
    assert trained.explain(line(200)).mean(0) == pytest.approx(0, abs=1e-8)


def test_the_parts_of_scikit_learns_interface_agree(trained):
    x = line(50, seed=2)
    scores = trained.score_samples(x)
    assert trained.decision_function(x) == pytest.approx(scores - trained.offset_)
    assert (trained.predict(x) == np.where(scores < trained.offset_, -1, 1)).all()
    assert (trained.predict(line(200)) == -1).mean() == trained.contamination


def test_a_row_has_the_same_score_in_any_batch(trained):
    x = line(30, seed=3)
    alone = [trained.score_samples(row[None])[0] for row in x[:5]]
    assert trained.score_samples(x)[:5] == pytest.approx(alone, rel=1e-10)


def test_calibrated_false_alarms_are_kept(trained):
    again = pickle.loads(pickle.dumps(trained)).calibrate(line(999, seed=4), false_alarms=0.1)
    assert (again.predict(line(999, seed=4)) == -1).mean() == pytest.approx(0.1, abs=0.002)
    assert (again.predict(line(1000, seed=5)) == -1).mean() == pytest.approx(0.1, abs=0.04)
    again.calibrate(line(101, seed=4), quantile=0.5)
    assert (again.predict(line(101, seed=4)) == -1).sum() == 50


@pytest.mark.parametrize("kind", ["evidence", "reconstruction", "error", "error+rate"])
def test_every_kind_of_score(kind):
    detector = VAEDetector(**QUICK, kind=kind).fit(line(60))
    far = np.r_[line(20, seed=1), line(20, seed=1) + np.array([500, 500, -500, 500])]
    assert detector.score_samples(far)[:20].min() > detector.score_samples(far)[20:].max()


@pytest.mark.slow
def test_the_regret():
    detector = VAEDetector(**QUICK, kind="regret").fit(line(20))
    assert np.isfinite(detector.score_samples(line(3, seed=1))).all()


# --------------------------------------------------------------------------------------- pairs of one's own


def full_normal(x):
    """A pair of one's own; its guide has no inverse cdf per entry."""
    width = x.shape[1]
    model = VAE(priors.StandardNormal(2), likelihoods.Laplace(width), MLP(2, width, (8,)))
    return model, FullNormalGuide(MLP(width, 5, (8,)))


def test_a_pair_of_ones_own():
    detector = VAEDetector(**QUICK, pair=full_normal).fit(line(60))
    assert isinstance(detector.guide_, FullNormalGuide)
    assert detector.mean_ == pytest.approx(line(60).mean(0))
    assert clone(detector).pair is full_normal
    assert (detector.fit_predict(line(60)) == 1).mean() > 0.9


# ------------------------------------------------------------------------------------------------ edge cases


def test_a_constant_column_is_no_obstacle_and_a_change_in_it_an_anomaly():
    x = line(100)
    x[:, 1] = 1e6 + 1 / 3
    detector = VAEDetector(**{**QUICK, "epochs": 0}).fit(x)
    assert detector.scale_[1] == 1
    assert np.isfinite(detector.score_samples(x)).all()
    changed = x.copy()
    changed[:, 1] += 20
    worse = detector.score_samples(x) - detector.score_samples(changed)
    assert worse == pytest.approx(np.log(len(x) * (1 - detector.trim) + 1), abs=1e-6)  # by the rule of succession
    assert (detector.explain(changed).argmax(1) == 1).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "elob"}, ["no kind 'elob'", "'elbo'"]),
        ({"contamination": 0.7}, ["contamination requires a finite number from 0 to 0.5", "0.7"]),
        ({"contamination": float("nan")}, ["contamination requires a finite number from 0 to 0.5", "nan"]),
        ({"num_samples": 0}, ["num_samples requires a whole number of at least 1", "0"]),
    ],
)
def test_parameters_outside_their_range(settings, words, says):
    with says(DataError if "kind" in settings else SettingError, *words):
        VAEDetector(**QUICK | settings).fit(line(20))


def test_a_site_without_a_plate_is_left_alone():
    """All data points share its draw anyway."""
    with SameNoise():
        shared = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("samples", 3, dim=-2), pyro.plate("data", 5, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(5, 2), 1.0).to_event(1))
            w = pyro.sample("w", dist.MultivariateNormal(torch.zeros(2), torch.eye(2)))
    assert shared.shape == ()
    assert torch.equal(z, z[:, :1].expand(3, 5, 2))
    assert len(z[:, 0].unique()) == 6
    assert len(w.unique()) == 30
