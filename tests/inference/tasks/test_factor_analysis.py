"""Factor analysis with gaps, against closed forms and against scikit-learn's, which takes none."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import FactorAnalysis as OfScikitLearn
from torch.distributions import MultivariateNormal

from pyrovae import data
from pyrovae.errors import NonFiniteError, SettingError, ShapeError
from pyrovae.inference import FactorAnalysis, factor_analysis


def drawn(size=400, width=6, factors=2, seed=0):
    """Rows of a linear model with noise of several scales."""
    generator = torch.Generator().manual_seed(seed)
    loadings = torch.randn(width, factors, generator=generator, dtype=torch.float64)
    noise = torch.randn(size, width, generator=generator, dtype=torch.float64) * torch.linspace(0.2, 1.0, width)
    z = torch.randn(size, factors, generator=generator, dtype=torch.float64)
    return 3.0 + 10 * (z @ loadings.T + noise)


@pytest.fixture(scope="module")
def rows():
    return drawn()


@pytest.fixture(scope="module")
def found(rows):
    return factor_analysis(rows, 2, tolerance=1e-9, num_steps=3000)


def normal(found: FactorAnalysis, seen):
    """p(x_observed) of one row, by the moments of all of x."""
    covariance = found.loadings @ found.loadings.T + found.scale.square().diag()
    return MultivariateNormal(found.loc[seen], covariance[seen][:, seen])


def test_complete_rows_have_the_likelihood_of_scikit_learns(rows, found):
    other = OfScikitLearn(2, tol=1e-9, max_iter=5000).fit(rows.numpy())
    assert found.log_evidence(rows).mean().item() == pytest.approx(other.score(rows.numpy()), abs=1e-5)
    covariance = found.loadings @ found.loadings.T + found.scale.square().diag()
    np.testing.assert_allclose(covariance.numpy(), other.get_covariance(), rtol=0.02, atol=0.5)


def test_the_factors_are_independent_given_x_and_ordered(rows, found):
    _, covariance = found.posterior(rows)
    assert covariance[0, 0, 1].item() == pytest.approx(0, abs=1e-10)
    lengths = (found.loadings / found.scale[:, None]).square().sum(0)
    assert lengths[0] > lengths[1]


def test_evidence_and_mean_of_rows_with_gaps_are_those_of_the_normal(rows, found):
    mask = data.mcar(rows, 0.4, seed=1)
    broken = torch.where(mask, rows, torch.nan)
    evidence, filled = found.log_evidence(broken, mask), found.impute(broken, mask)
    covariance = found.loadings @ found.loadings.T + found.scale.square().diag()
    for row in range(20):
        seen = mask[row]
        if not seen.any():
            continue
        assert evidence[row].item() == pytest.approx(normal(found, seen).log_prob(rows[row, seen]).item(), abs=1e-8)
        slope = covariance[~seen][:, seen] @ covariance[seen][:, seen].inverse()
        expected = found.loc[~seen] + slope @ (rows[row, seen] - found.loc[seen])
        torch.testing.assert_close(filled[row, ~seen], expected)
        assert (filled[row, seen] == rows[row, seen]).all()


def test_draws_have_the_moments_of_what_is_missing(rows, found):
    mask = data.mcar(rows[:30], 0.5, seed=2)
    draws = found.imputations(rows[:30], mask, 4000, seed=3)
    assert (draws[:, mask] == rows[:30][mask]).all()
    torch.testing.assert_close(draws.mean(0), found.impute(rows[:30], mask), rtol=0, atol=1.2)
    _, covariance = found.posterior(rows[:30], mask)
    spread = torch.einsum("dk,nkl,dl->nd", found.loadings, covariance, found.loadings) + found.scale**2
    torch.testing.assert_close(draws.std(0)[~mask], spread.sqrt()[~mask], rtol=0.08, atol=0)
    assert torch.equal(draws, found.imputations(rows[:30], mask, 4000, seed=3))


def test_em_finds_the_model_behind_half_of_the_entries():
    rows = drawn(3000)
    mask = data.mcar(rows, 0.5, seed=0)
    half, whole = factor_analysis(torch.where(mask, rows, torch.nan), 2, mask), factor_analysis(rows, 2)
    lost = whole.log_evidence(rows).mean() - half.log_evidence(rows).mean()
    assert 0 <= lost.item() < 0.03
    assert half.log_evidence(rows, mask).mean() >= whole.log_evidence(rows, mask).mean()


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_a_ridge_has_the_highest_penalised_likelihood(rows, rate):
    """EM raises it at each step, and the maximum without a penalty has a lower one."""
    mask = data.mcar(rows, rate, seed=0) if rate else torch.ones_like(rows, dtype=torch.bool)

    def penalised(found):
        return (
            found.log_evidence(rows, mask).sum() - 10 * (found.loadings / found.scale[:, None]).square().sum()
        ).item()

    steps = [factor_analysis(rows, 3, mask, ridge=20.0, tolerance=1e-12, num_steps=n) for n in (1, 2, 3, 10, 1000)]
    reached = [penalised(found) for found in steps]
    assert reached == sorted(reached)
    free = factor_analysis(rows, 3, mask)
    assert reached[-1] > penalised(free)
    assert free.log_evidence(rows, mask).sum() > steps[-1].log_evidence(rows, mask).sum()


def test_a_ridge_predicts_better_where_columns_are_many_for_the_rows():
    rows = drawn(80, 20, 3)
    mask = data.mcar(rows, 0.5, seed=0)

    def error(ridge):
        return (factor_analysis(rows, 15, mask, ridge=ridge).impute(rows, mask) - rows).square().mean().item()

    assert error(3.0) < 0.9 * error(0.0)


def test_more_factors_than_columns_and_a_constant_column():
    rows = drawn(60, 4)
    rows[:, 1] = 7.0
    found = factor_analysis(rows, 9)
    assert found.loadings.shape == (4, 9)
    assert (found.loadings[:, 3:] == 0).all()
    assert found.log_evidence(rows).isfinite().all()
    assert found.loc[1].item() == pytest.approx(7.0)
    assert "factors" in str(found)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: factor_analysis(x[:1], 1), SettingError, ["2 rows or more", "1"]),
        (lambda x: factor_analysis(x[0], 1), ShapeError, ["(N, D)"]),
        (lambda x: factor_analysis(x * torch.nan, 1), NonFiniteError, ["finite observed entries"]),
        (lambda x: factor_analysis(x, 0), SettingError, ["num_factors", "0"]),
        (lambda x: factor_analysis(x, 1, tolerance=0.0), SettingError, ["tolerance", "above 0"]),
        (lambda x: factor_analysis(x, 1, least=-1.0), SettingError, ["least", "above 0"]),
        (lambda x: factor_analysis(x, 1, ridge=-1.0), SettingError, ["ridge", "at least 0"]),
        (lambda x: factor_analysis(x, 1, num_steps=0), SettingError, ["num_steps", "0"]),
        (lambda x: factor_analysis(x, 1).imputations(x, x > 0, 0), SettingError, ["num_imputations", "0"]),
    ],
)
def test_errors(call, error, words, rows, says):
    with says(error, *words):
        call(rows)
