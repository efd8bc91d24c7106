"""The capacity of an imputer: chosen by observed cells that are held out."""

import numpy as np
import pytest
import torch

from pyrovae import data
from pyrovae.errors import SettingError
from pyrovae.inference import VAEImputer, VAETransformer, factor_analysis
from pyrovae.inference.estimators import imputer
from pyrovae.inference.estimators.capacity import choose_capacity, held_out_score

QUICK = {"hidden": (8,), "epochs": 0, "num_particles": 2, "num_samples": 20, "random_state": 0, "device": "cpu"}


def drawn(size, width, factors, seed=0, noise=0.5):
    """Rows of a linear model, and which of their cells are observed."""
    generator = torch.Generator().manual_seed(seed)
    loadings = torch.randn(width, factors, generator=generator, dtype=torch.float64)
    z = torch.randn(size, factors, generator=generator, dtype=torch.float64)
    x = z @ loadings.T + noise * torch.randn(size, width, generator=generator, dtype=torch.float64)
    return x, data.mcar(x, 0.3, seed=seed)


def test_it_finds_the_number_of_factors():
    assert choose_capacity(*drawn(300, 12, 2))[0] == 2
    assert choose_capacity(*drawn(300, 12, 5))[0] == 5
    assert choose_capacity(*drawn(300, 12, 5), counts=(2, 40))[0] == 11  # D - 1


def test_noise_is_shrunk_and_a_strong_signal_is_not():
    assert choose_capacity(*drawn(60, 20, 3), counts=(19,))[1] > 0
    assert choose_capacity(*drawn(30, 6, 2, noise=0.05), counts=(2,))[1] == 0


def test_hidden_cells_and_the_random_state_do_not_matter():
    x, mask = drawn(100, 8, 3)
    state = torch.random.get_rng_state()
    found = choose_capacity(x, mask)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert choose_capacity(torch.where(mask, x, torch.nan), mask) == found
    assert choose_capacity(7 + x * torch.logspace(-3, 3, 8), mask) == found  # the units of the columns


def test_a_single_column_and_a_constant_one():
    x, mask = drawn(40, 1, 1)
    assert choose_capacity(x, mask)[0] == 1
    x, mask = drawn(40, 4, 2)
    x[:, 2] = 3.0
    assert choose_capacity(x, mask)[0] in (2, 3)


def test_the_imputer_chooses_unless_it_is_told():
    x, mask = drawn(300, 12, 2)
    gaps = torch.where(mask, x, torch.nan).numpy()
    assert VAEImputer(**QUICK).fit(gaps).latent_dim_ == 2
    told = VAEImputer(latent_dim=14, **QUICK).fit(gaps)
    assert told.latent_dim_ == 14
    assert told.ridge_ >= 0
    with pytest.raises(SettingError, match="latent_dim"):
        VAETransformer(latent_dim=None).fit(x.numpy())


def test_a_table_with_categories_has_ten_dimensions(tmp_path):
    pd = pytest.importorskip("pandas")
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"city": generator.choice(["Oslo", "Bonn"], 40), "height": generator.normal(size=40)})
    frame.loc[::4, "height"] = np.nan
    fitted = VAEImputer(**QUICK).fit(frame)
    assert fitted.latent_dim_ == 10
    again = VAEImputer.load(fitted.save(tmp_path / "imputer"))
    assert (again.latent_dim, again.latent_dim_, again.ridge_) == (None, 10, fitted.ridge_)
    assert VAEImputer(**QUICK).fit(frame[["city"]]).latent_dim_ == 10


def test_the_score_of_the_linear_pair_is_that_of_factor_analysis():
    x, mask = drawn(200, 6, 2)
    gaps = torch.where(mask, x, torch.nan).numpy()
    fitted = VAEImputer(latent_dim=2, **QUICK).fit(gaps)
    batch = fitted.table_.encode(gaps)
    score = held_out_score(fitted.model_, fitted.guide_, batch, torch.zeros(6, dtype=torch.bool))
    found = factor_analysis(x, 2, mask, ridge=fitted.ridge_)
    quarters = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).mul(4).long()
    unit, expected = torch.tensor(np.nanstd(gaps, 0)), torch.zeros(200, dtype=torch.float64)
    for quarter in range(4):
        held = mask & (quarters == quarter)
        error = (found.impute(x, mask & ~held) - x) / unit
        expected -= (error.square() * held).sum(1)
    assert score.mean().item() == pytest.approx(expected.mean().item(), rel=0.05)


def test_a_wrong_category_costs_one():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"city": ["Oslo"] * 30 + ["Bonn"] * 10})
    fitted = VAEImputer(**QUICK).fit(frame)
    batch = fitted.table_.encode(frame)
    score = held_out_score(fitted.model_, fitted.guide_, batch, torch.tensor([True]))
    assert score.tolist() == [0.0] * 30 + [-1.0] * 10  # Oslo is the most frequent


@pytest.mark.parametrize(("gain", "kept"), [(1.0, True), (0.0, False), (-1.0, False)])
def test_a_training_is_kept_where_it_predicts_better(monkeypatch, gain, kept):
    calls = []

    def score(model, guide, batch, categories):
        calls.append(len(batch["x"]))
        return torch.full((len(batch["x"]),), gain * len(calls))

    monkeypatch.setattr(imputer, "held_out_score", score)
    x, mask = drawn(60, 4, 1)
    gaps = torch.where(mask, x, torch.nan).numpy()
    fitted = VAEImputer(**QUICK | {"epochs": 2}, latent_dim=1, compile=False).fit(gaps)
    assert calls == [10, 10]  # before and after
    assert bool(fitted.history_.rows) is kept
