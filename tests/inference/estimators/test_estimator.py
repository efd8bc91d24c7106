"""What all estimators share: their parameters, and a training that follows random_state."""

import numpy as np
import pytest
from sklearn.base import clone

from pyrovae.errors import SettingError
from pyrovae.inference.estimators.detector import VAEDetector
from pyrovae.inference.estimators.estimator import VAEEstimator
from pyrovae.inference.estimators.imputer import VAEImputer
from pyrovae.inference.estimators.transformer import VAETransformer

QUICK = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "random_state": 0, "device": "cpu"}
KINDS = pytest.mark.parametrize("kind", [VAEDetector, VAETransformer, VAEImputer])


def table(size=20):
    return np.random.default_rng(0).normal(size=(size, 3))


@KINDS
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": -1}, ["epochs requires a whole number of at least 0", "-1"]),
        ({"latent_dim": 2.5}, ["latent_dim requires a whole number", "2.5"]),
        ({"batch_size": -1}, ["batch_size requires a whole number of at least 1", "-1"]),
        ({"hidden": (8, 0)}, ["hidden requires whole numbers of at least 1"]),
        ({"hidden": 8}, ["hidden requires whole numbers of at least 1"]),
        ({"learning_rate": 0.0}, ["learning_rate requires a finite number above 0"]),
        ({"learning_rate": float("nan")}, ["learning_rate requires a finite number above 0"]),
    ],
)
def test_parameters_outside_their_range(kind, settings, words, says):
    with says(SettingError, *words):
        kind(**QUICK | settings).fit(table())


@KINDS
def test_parameters_are_kept_and_a_misspelt_one_is_refused(kind, says):
    estimator = clone(kind(**QUICK))
    assert {name: estimator.get_params()[name] for name in QUICK} == QUICK
    with says(TypeError, "epoch"):
        kind(epoch=2)


@KINDS
def test_the_random_state_decides(kind):
    same, again, other = (kind(**QUICK | {"random_state": seed}).fit(table()).history_["loss"] for seed in (0, 0, 1))
    assert same == again
    assert same != other


@KINDS
def test_the_bar_is_shown_if_verbose(kind, capsys):
    kind(**QUICK).fit(table())
    assert "2/2" not in capsys.readouterr().err
    kind(**QUICK, verbose=True).fit(table())
    assert "2/2" in capsys.readouterr().err


def test_a_kind_of_estimator_has_its_own_fit(says):
    with says(TypeError, "abstract", "fit"):
        VAEEstimator()
