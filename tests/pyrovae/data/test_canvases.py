"""Canvases with several objects."""

import pytest
import torch

from pyrovae.data import canvases
from pyrovae.errors import DataError, SettingError, ShapeError


def images(*, colours=1):
    """Three images of 4 x 3 pixels that are told by their grey level, with a free column at the left."""
    made = torch.zeros(3, colours, 4, 3, dtype=torch.uint8)
    for number, level in enumerate((50, 100, 200)):
        made[number, ..., 1:] = level
    return made


def test_each_canvas_has_its_number_of_objects():
    made = canvases(images(), 3000, side=12, most=3, seed=1)
    x, count = made["x"], made["count"]
    assert x.shape == (3000, 1, 12, 12)
    assert x.dtype == torch.uint8
    assert ((x > 0).flatten(1).sum(1) == 8 * count).all()  # no two share a pixel
    shares = torch.stack([(count == n).double().mean() for n in range(4)])
    torch.testing.assert_close(shares, torch.full((4,), 0.25).double(), rtol=0, atol=0.04)  # five standard errors


def test_places_are_uniform():
    made = canvases(images(), 4000, side=8, most=1, seed=2)
    one = made["x"][made["count"] == 1, 0] > 0
    top, left = one.any(2).int().argmax(1), one.any(1).int().argmax(1)
    for found, low, places in ((top, 0, 5), (left, 1, 6)):
        assert (found.min(), found.max()) == (low, low + places - 1)
        shares = torch.bincount(found - low).double() / len(found)
        torch.testing.assert_close(shares, torch.full((places,), 1 / places).double(), rtol=0, atol=0.045)


def test_a_seed_repeats_the_canvases_and_colours_stay():
    first, again, other = (canvases(images(colours=3), 50, side=9, seed=s) for s in (3, 3, 4))
    assert torch.equal(first["x"], again["x"])
    assert not torch.equal(first["x"], other["x"])
    assert first["x"].shape == (50, 3, 9, 9)
    assert (first["x"][:, 0] == first["x"][:, 2]).all()


def test_no_objects():
    assert not canvases(images(), 5, side=6, most=0)["x"].any()


def test_errors(says):
    with says(DataError, "room for the objects", "up to 5", "(4, 3)", "a larger side"):
        canvases(images(), 20, side=4, most=5)
    with says(ShapeError, "uint8 images", "3 x 3"):
        canvases(images(), 5, side=3)
    with says(ShapeError, "float32"):
        canvases(images().float(), 5)
    for settings in ({"size": 0}, {"size": 5, "side": 0}, {"size": 5, "most": -1}, {"size": 5, "seed": -1}):
        with pytest.raises(SettingError, match=[*settings][-1]):
            canvases(images(), **settings)
