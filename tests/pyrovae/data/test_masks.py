"""Masks: how much is missing, and what it depends on."""

import math

import numpy as np
import pytest
import torch

from pyrovae import data
from pyrovae.errors import DataError, SettingError, ShapeError


@pytest.fixture
def x():
    return torch.randn(4000, 6)


def share(mask):
    return 1 - mask.double().mean(0)


def effect(values, mask):
    """How much larger a missing entry's cause is than an observed one's, by column."""
    gaps = [(values[~m].mean() - values[m].mean()).item() if not m.all() else 0.0 for m in mask.T]
    return torch.tensor(gaps)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5])
def test_mcar_depends_on_nothing(x, rate):
    mask = data.mcar(x, rate)
    assert ((share(mask) - rate).abs() < 0.04).all()
    assert max(effect(x[:, j], mask).abs().max() for j in range(6)) < 0.15
    assert torch.equal(mask, data.mcar(x, rate))
    assert rate == 0 or not torch.equal(mask, data.mcar(x, rate, seed=1))


def test_mar_depends_on_what_is_always_observed(x):
    mask = data.mar(x, 0.4)
    always = mask.all(0)
    assert always.sum() == 2
    assert ((share(mask)[~always] - 0.4).abs() < 0.04).all()
    strongest = torch.stack([effect(x[:, j], mask).abs() for j in range(6)])
    assert (strongest[always].amax(0)[~always] > 0.3).all()
    assert strongest[~always].max() < 0.15


def test_mnar_hides_large_values(x):
    mask = data.mnar(x + 5, 0.4)
    assert ((share(mask) - 0.4).abs() < 0.04).all()
    assert (torch.stack([effect(x[:, j], mask[:, j : j + 1]) for j in range(6)]) > 0.8).all()
    constant = data.mnar(torch.ones(4000, 2), 0.4)
    assert ((share(constant) - 0.4).abs() < 0.04).all()
    assert data.mnar(x, 0.0).all()


def test_halves():
    images = torch.zeros(40, 3, 5, 4)
    mask = data.halves(images, "bottom")
    assert mask[:, :, :2].all()
    assert not mask[:, :, 2:].any()
    assert torch.equal(data.halves(images, "right"), ~data.halves(images, "left"))
    kinds = {tuple(m.flatten().tolist()) for m in data.halves(images)}
    assert len(kinds) == 4
    with pytest.raises(ShapeError, match=r"\(N, C, H, W\)"):
        data.halves(torch.zeros(4, 5))
    with pytest.raises(DataError, match="random, got 'up'"):
        data.halves(images, "up")


def test_incomplete():
    batch = data.incomplete(np.array([[1.0, math.nan], [math.nan, 4.0]]))
    assert batch["x"].tolist() == [[1, 0], [0, 4]]
    assert batch["x"].dtype == torch.float32
    assert batch["mask"].tolist() == [[True, False], [False, True]]
    pixels = torch.full((2, 3, 2, 2), 7, dtype=torch.uint8)
    batch = data.incomplete(pixels, torch.tensor([True, False]).reshape(2, 1, 1, 1))
    assert batch["x"].dtype == torch.uint8
    assert batch["mask"].shape == pixels.shape
    assert batch["x"][1].eq(0).all()
    with pytest.raises(DataError, match=r"inf at \[0, 1\]"):
        data.incomplete(torch.tensor([[1.0, math.inf]]))
    with pytest.raises(DataError, match="nan at"):
        data.incomplete(torch.tensor([[1.0, math.nan]]), torch.ones(1, 2))
    with pytest.raises(ShapeError, match=r"\(1, 3\).*\(1, 2\)"):
        data.incomplete(torch.ones(1, 2), torch.ones(1, 3))
    for mask in (torch.full((1, 2), math.nan), torch.full((1, 2), 2), torch.full((1, 2), -1.0), "a", [[True, False]]):
        with pytest.raises(DataError, match="mask requires"):
            data.incomplete(torch.ones(1, 2), mask)
    for x in (None, "a", [["a"]], torch.ones(2, dtype=torch.complex64)):
        with pytest.raises(DataError, match="x requires a tensor"):
            data.incomplete(x)


def test_hot_deck_keeps_the_marginals(x):
    mask = data.mcar(x, 0.5)
    mask[:, 5] = False
    filled = data.hot_deck(torch.where(mask, x, math.nan), mask)
    assert torch.equal(filled[mask], x[mask])
    assert filled[:, 5].isnan().all()
    for j in range(5):
        assert torch.isin(filled[:, j], x[mask[:, j], j]).all()
        assert (filled[:, j].std() - x[:, j].std()).abs() < 0.06


@pytest.mark.parametrize(("hides", "sign"), [("large", 1), ("small", -1)])
def test_censored_has_the_moments_of_a_normal(hides, sign):
    """Three normal columns without their tails: the whole columns have their mean and spread again."""
    x = sign * (torch.tensor([2.0, -1.0, 0.0]) + torch.tensor([3.0, 0.5, 1.0]) * torch.randn(20_000, 3))
    mask = sign * x < torch.tensor([2.0, -0.5, -1.0])
    filled = data.censored(torch.where(mask, x, math.nan), mask, hides=hides)
    assert torch.equal(filled[mask], x[mask])
    beyond = torch.where(mask, sign * x, -math.inf).amax(0)
    assert (sign * filled >= beyond)[~mask].all()
    torch.testing.assert_close(filled.mean(0), x.mean(0), rtol=0, atol=0.1)
    torch.testing.assert_close(filled.std(0), x.std(0), rtol=0.06, atol=0)


def test_censored_keeps_columns_without_gaps_or_without_values(says):
    x = torch.tensor([[1, 5, 2], [3, 5, 2], [2, 5, 2], [9, 5, 2]])
    mask = torch.tensor([[1, 0, 1], [1, 0, 1], [1, 0, 0], [0, 0, 1]]).bool()
    filled = data.censored(x, mask, seed=3)
    assert filled.is_floating_point()
    assert torch.equal(filled[mask], x[mask].float())
    assert (filled[:, 1] == 5).all()
    assert filled[2, 2] == 2  # its column is constant, and so is the tail
    assert torch.equal(filled, data.censored(x, mask, seed=3))
    with says(SettingError, "hides='large' or 'small'", "'up'"):
        data.censored(x, mask, hides="up")


@pytest.mark.parametrize("hide", [data.mcar, data.mar, data.mnar])
def test_shares_are_shares(x, hide):
    for rate in (1.0, -0.1, math.nan, None, "0.5"):
        with pytest.raises(SettingError, match="rate requires a number of at least 0 and below 1"):
            hide(x, rate)
    for seed in (-1, 0.5, 2**40):
        with pytest.raises(SettingError, match="seed requires a whole number"):
            hide(x, seed=seed)


@pytest.mark.parametrize("hide", [data.mar, data.mnar])
def test_what_hides_by_values_requires_them(x, hide):
    """NaN made the mask of its column all false, or all true."""
    for broken in (math.nan, math.inf):
        gaps = x.clone()
        gaps[3, 1] = broken
        with pytest.raises(DataError, match=f"{hide.__name__} requires complete data, got 1 NaN or infinite"):
            hide(gaps)
    for empty in (torch.zeros(0, 3), torch.zeros(3), torch.tensor(1.0)):
        with pytest.raises(ShapeError, match=f"{hide.__name__}.*requires a tensor"):
            hide(empty)
    with pytest.raises(SettingError, match="slope requires a finite number"):
        hide(x, slope=math.inf)


def test_mar_requires_a_share_of_what_is_always_observed(x):
    for always in (-0.1, 1.5, math.nan):
        with pytest.raises(SettingError, match="always requires a number from 0 to 1"):
            data.mar(x, always=always)


def test_mar_requires_something_to_hide():
    with pytest.raises(DataError, match="of 1"):
        data.mar(torch.randn(4, 1))
