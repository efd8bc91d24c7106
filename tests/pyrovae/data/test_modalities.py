"""Modalities that are missing: flags, hidden values, and the subsets of sub-sampled training."""

import pytest
import torch

from pyrovae.data import Binarize, Subsets, every_subset, flag_of, hide_modalities
from pyrovae.errors import DataError, SettingError

SIZE = 9_000


@pytest.fixture
def batch():
    return {"x": torch.rand(SIZE, 2), "y": torch.arange(SIZE) % 3 + 1}


def test_every_subset():
    assert every_subset("xyz") == [("x",), ("y",), ("z",), ("x", "y"), ("x", "z"), ("y", "z"), ("x", "y", "z")]
    assert flag_of("y") == "has_y"


def test_hidden_modalities(batch):
    hidden = hide_modalities(batch, 0.6)
    has = torch.stack([hidden["has_x"], hidden["has_y"]])
    assert has.any(0).all()
    # Each is hidden with probability 0.6, unless both would be: then one of them, at random, is kept.
    assert has.double().mean(1).tolist() == pytest.approx([0.4 + 0.36 / 2] * 2, abs=0.02)
    for name in batch:
        assert torch.equal(hidden[name][hidden[flag_of(name)]], batch[name][hidden[flag_of(name)]])
        assert (hidden[name][~hidden[flag_of(name)]] == 0).all()
    assert all(torch.equal(hidden[name], again) for name, again in hide_modalities(batch, 0.6).items())
    assert not torch.equal(hidden["has_x"], hide_modalities(batch, 0.6, seed=1)["has_x"])


def test_each_subset_is_drawn_equally_often(batch):
    drawn = Subsets(("x", "y"))(batch)
    counts = torch.bincount(drawn["has_x"].long() + 2 * drawn["has_y"].long(), minlength=4) / SIZE
    assert counts[0] == 0
    assert counts[1:].tolist() == pytest.approx([1 / 3] * 3, abs=0.02)


def test_chosen_subsets(batch):
    drawn = Subsets(("x", "y"), subsets=[("x", "y"), ("x",), ("x",)])(batch)
    assert drawn["has_x"].all()
    assert drawn["has_y"].double().mean().item() == pytest.approx(1 / 3, abs=0.02)


def test_what_is_missing_stays_missing(batch):
    has_y = torch.arange(SIZE) % 2 == 0
    drawn = Subsets(("x", "y"), subsets=[("y",)])({**batch, "has_y": has_y})
    assert torch.equal(drawn["has_y"], has_y)
    assert torch.equal(drawn["has_x"], ~has_y)  # nothing of the subset is there: it shows all that it has


def test_the_inner_transform_runs(batch):
    transform = Subsets(("x", "y"), Binarize("threshold"))
    prepared = transform.prepare(batch)
    assert set(transform(prepared)["x"].unique().tolist()) == {0.0, 1.0}
    assert transform == Subsets(("x", "y"), Binarize("threshold"))


def test_the_mean_over_steps_is_that_over_subsets():
    """The expected loss of sub-sampled training is the mean of the losses of the subsets."""
    x = torch.arange(4.0)
    value = {("x",): 1.0, ("y",): 5.0, ("x", "y"): 9.0}
    drawn = Subsets(("x", "y"))({"x": x.repeat(5_000), "y": x.repeat(5_000)})
    has = zip(drawn["has_x"].tolist(), drawn["has_y"].tolist(), strict=True)
    losses = [value[tuple(n for n, there in zip("xy", flags, strict=True) if there)] for flags in has]
    assert sum(losses) / len(losses) == pytest.approx(5.0, abs=0.1)


def test_errors(batch, says):
    with says(DataError, "hide_modalities requires at least two modalities", "x, v", "x, y"):
        hide_modalities(batch, names=("x", "v"))
    with says(DataError, "Subsets requires at least two modalities", "x, v"):
        Subsets(("x", "v")).prepare(batch)
    with says(DataError, "Subsets requires at least two names", "('v',)"):
        Subsets(("x", "y"), subsets=[("v",)])
    with says(DataError, "at least two names"):
        Subsets(("x",))
    with says(SettingError, "rate", "1"):
        hide_modalities(batch, 1.0)
