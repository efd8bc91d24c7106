"""Data sets in which few labels are known."""

import math

import pytest
import torch

from pyrovae.data import hide_labels
from pyrovae.errors import DataError, SettingError


@pytest.fixture
def batch():
    return {"x": torch.arange(300.0).unsqueeze(-1), "y": torch.arange(300) % 3}


def test_as_many_of_each_class_are_kept_and_repeated_to_their_share(batch):
    hidden = hide_labels(batch, 6, share=0.25)
    known = hidden["y"] >= 0
    assert known.double().mean().item() == pytest.approx(0.25, abs=0.01)
    assert hidden["y"][known].bincount().tolist() == [34, 34, 34]
    assert len(hidden["x"][known].unique()) == 6
    assert torch.equal(hidden["x"][known].squeeze(-1).long() % 3, hidden["y"][known])
    assert torch.equal(hidden["x"][~known], batch["x"])


def test_the_choice_is_that_of_the_seed(batch):
    kept = [hide_labels(batch, 6, seed=seed)["x"][300:] for seed in (0, 0, 1)]
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])


def test_many_labels_are_there_once(batch):
    assert len(hide_labels(batch, 150, share=0.1)["y"]) == 450


def test_faults(batch, says):
    with says(DataError, "each of the 3 classes", "keep=7"):
        hide_labels(batch, 7)
    with says(DataError, "keep=303", "a class of 100", "at most 300"):
        hide_labels(batch, 303)


@pytest.mark.parametrize(
    "batch",
    [
        {"x": torch.zeros(3, 1)},
        {"x": torch.zeros(3, 1), "y": torch.zeros(3)},
        {"x": torch.zeros(3, 1), "y": torch.zeros(3, 1, dtype=torch.int64)},
        {"x": torch.zeros(3, 1), "y": torch.tensor([0, -1, 1])},
        {"x": torch.zeros(0, 1), "y": torch.zeros(0, dtype=torch.int64)},
    ],
)
def test_labels_that_cannot_be_hidden(batch, says):
    with says(DataError, "hide_labels requires a label y of each data point", "from 0 on"):
        hide_labels(batch, 3)


@pytest.mark.parametrize(
    ("name", "value"), [("keep", 0), ("keep", 1.5), ("share", 1.0), ("share", -0.1), ("share", math.nan), ("seed", -1)]
)
def test_settings_without_a_meaning(batch, name, value, says):
    with says(SettingError, f"{name} requires"):
        hide_labels(batch, **{"keep": 6, name: value})
