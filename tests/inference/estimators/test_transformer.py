"""VAETransformer: scikit-learn's own checks, pipelines, grid search, and what it gives back."""

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from pyrovae.errors import SupportError
from pyrovae.inference import VAETransformer
from pyrovae.models import Program

QUICK = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "random_state": 0}


@parametrize_with_checks([VAETransformer(**QUICK)])
def test_what_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def plane():
    """500 rows near a plane in R^5, in units of 100, and which half of the plane each is in."""
    generator = np.random.default_rng(0)
    z = generator.normal(size=(500, 2))
    x = z @ generator.normal(size=(2, 5)) + 0.1 * generator.normal(size=(500, 5))
    return 100 * x + 1000, (z[:, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def trained(plane):
    return VAETransformer(latent_dim=2, hidden=(32,), epochs=60, learning_rate=5e-3, random_state=0).fit(plane[0])


def test_codes_of_a_plane_tell_the_rows(plane, trained):
    x, _ = plane
    codes = trained.transform(x)
    assert codes.shape == (500, 2)
    error = np.square(trained.inverse_transform(codes) - x).mean()
    assert error < 0.05 * x.var(0).mean()


def test_samples_have_the_moments_of_the_table(plane, trained):
    x, _ = plane
    drawn = trained.sample(4000, random_state=1)
    assert drawn.shape == (4000, 5)
    assert np.abs(drawn.mean(0) - x.mean(0)).max() < 0.2 * x.std()
    assert np.abs(np.corrcoef(drawn.T) - np.corrcoef(x.T)).max() < 0.2
    assert trained.sample(4000, mean=True, random_state=1).var() < drawn.var()
    assert (trained.sample(9, random_state=1) == trained.sample(9, random_state=1)).all()


def test_the_score_is_a_density_in_the_tables_own_units(plane, trained):
    x, _ = plane
    exact = PCA(2).fit(x).score(x)  # probabilistic PCA, which is the truth here
    assert exact - 1.5 < trained.score(x) < exact + 0.1


def test_a_constant_column_is_given_back():
    x = np.random.default_rng(0).normal(size=(50, 3))
    x[:, 1] = 7.0
    fitted = VAETransformer(**QUICK).fit(x)
    assert fitted.inverse_transform(fitted.transform(x))[:, 1] == pytest.approx(7.0, abs=3.0)
    assert np.isfinite(fitted.score(x))


def test_in_a_pipeline_the_codes_tell_the_label(plane):
    x, y = plane
    coder = VAETransformer(latent_dim=2, hidden=(16,), epochs=20, learning_rate=5e-3, random_state=0)
    pipeline = make_pipeline(coder, LogisticRegression())
    assert pipeline.fit(x[:400], y[:400]).score(x[400:], y[400:]) > 0.9
    assert list(pipeline[:-1].get_feature_names_out()) == ["vaetransformer0", "vaetransformer1"]


def test_a_grid_search_without_labels_finds_the_plane(plane):
    x, _ = plane
    coder = VAETransformer(hidden=(16,), epochs=20, learning_rate=5e-3, random_state=0)
    search = GridSearchCV(coder, {"latent_dim": [1, 2]}, cv=2).fit(x)
    assert search.best_params_ == {"latent_dim": 2}
    assert search.best_estimator_.transform(x).shape == (500, 2)


def test_data_frames_in_and_out(plane, says):
    frame = pd.DataFrame(plane[0], columns=list("abcde"))
    fitted = VAETransformer(**QUICK).set_output(transform="pandas").fit(frame)
    codes = fitted.transform(frame)
    assert list(codes.columns) == ["vaetransformer0", "vaetransformer1"]
    assert fitted.inverse_transform(codes).shape == (500, 5)
    with says(ValueError, "feature names"):
        fitted.transform(frame.rename(columns={"a": "z"}))


class Two(Program):
    """p(kind) p(u) p(v) p(x | u, v, kind): u is a matrix, v a number, and the label is no feature."""

    def forward(self, x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            kind = pyro.sample("kind", dist.Categorical(torch.ones(2) / 2))
            u = pyro.sample("u", dist.Normal(torch.zeros(2, 1), 1.0).to_event(2))
            v = pyro.sample("v", dist.Normal(0.0, 1.0))
            loc = torch.cat([u.flatten(-2), v.unsqueeze(-1) + 0.0 * kind.unsqueeze(-1)], -1)
            return pyro.sample("x", dist.Normal(loc, 0.1).to_event(1), obs=x)


class TwoGuide(Program):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.1))

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("kind", dist.Categorical(torch.tensor([0.9, 0.1])))
            pyro.sample("u", dist.Normal(x[:, :2, None], self.scale).to_event(2))
            pyro.sample("v", dist.Normal(x[:, 2], self.scale))


@pytest.mark.filterwarnings("ignore::pyrovae.inference.compile.EagerWarning")
def test_the_codes_of_a_pair_of_ones_own(plane):
    x = plane[0][:40, :3]
    fitted = VAETransformer(pair=lambda x: (Two(), TwoGuide()), epochs=1, standardize=False, random_state=0)
    codes = fitted.fit(x / 1000).transform(x / 1000)
    assert codes == pytest.approx(x / 1000, abs=1e-5)
    assert fitted.inverse_transform(codes) == pytest.approx(x / 1000, abs=1e-5)
    assert fitted.sites_ == {"u": (2, 1), "v": ()}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda fitted: fitted.inverse_transform(np.zeros((3, 4))), ["4 dimensions", "have 2"]),
        (lambda fitted: fitted.inverse_transform(np.full((3, 2), np.nan)), ["NaN"]),
        (lambda fitted: fitted.transform(np.zeros((3, 4))), ["4 features", "expecting 5"]),
        (lambda _: VAETransformer().sample(), ["not fitted"]),
        (lambda _: VAETransformer().inverse_transform(np.zeros((3, 2))), ["not fitted"]),
    ],
)
def test_errors(trained, call, words, says):
    with says(ValueError, *words):
        call(trained)


def test_values_without_a_density(says):
    with says(SupportError, "Bernoulli"):
        VAETransformer(likelihood="bernoulli").fit(np.random.default_rng(0).normal(size=(9, 3)))
