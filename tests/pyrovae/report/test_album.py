"""Data points as a page shows them: pixels, budgets, numbers."""

import numpy as np
import pytest
import torch

from pyrovae.report.album import Camera


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_holds_every_image(channels, sheet):
    x = torch.randint(256, (7, channels, 4, 5)) / 255
    album = Camera.of(x).album(x)
    pixels = sheet(album)
    for i, image in enumerate(x):
        top, left = 4 * (i // album["columns"]), 5 * (i % album["columns"])
        tile = pixels[top : top + 4, left : left + 5].reshape(4, 5, channels)
        np.testing.assert_array_equal(tile, (255 * image).round().permute(1, 2, 0).numpy())


def test_a_sheet_of_noise_keeps_its_budget():
    x = torch.rand(50, 3, 40, 30)
    album = Camera.of(x).album(x, budget=20_000)
    assert len(album["source"]) < 1.4 * 20_000
    assert album["width"] / album["height"] == pytest.approx(30 / 40, rel=0.1)


def test_pixels_beyond_the_unit_interval_span_black_to_white(sheet):
    x = torch.tensor([-2.0, 0.0, 2.0, 6.0]).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(sheet(Camera.of(x).album(x)), [[0, 64], [128, 255]])


def test_numbers_stay_numbers():
    x = torch.tensor([[1.23456, 2.0], [float("nan"), -1e-5]])
    album = Camera.of(x).album(x)
    assert album["kind"] == "numbers"
    assert album["names"] == ["x1", "x2"]
    assert album["values"][0] == [1.23, 2.0]
    long = Camera.of(torch.zeros(3, 5000)).album(torch.arange(15000.0).reshape(3, 5000))
    assert len(long["names"]) == len(long["values"][0]) <= 256
