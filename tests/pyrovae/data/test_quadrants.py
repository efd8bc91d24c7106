"""Image completion: what is seen, and the rest."""

import pytest
import torch

from pyrovae.data import Quadrants
from pyrovae.errors import DataError, ShapeError


@pytest.mark.parametrize(("seen", "share"), [(1, 0.25), (2, 0.5), (3, 0.75)])
def test_parts_are_complementary_and_join_to_the_image(seen, share):
    x = torch.randint(256, (3, 1, 4, 6), dtype=torch.uint8)
    transform = Quadrants(seen)
    parts = transform(transform.prepare({"x": x, "y": torch.zeros(3)}))
    assert parts["y"].shape == (3, 24 * share)
    assert parts["x"].shape == (3, 24 * (1 - share))
    assert torch.equal(transform.join(parts["x"], parts["y"], (1, 4, 6)), x / 255)


def test_the_bottom_left_is_seen_first_then_the_top_left_then_the_top_right():
    x = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).reshape(1, 1, 2, 2) * 10
    for seen, expected in ((1, [3]), (2, [3, 1]), (3, [3, 1, 2])):
        assert (Quadrants(seen).prepare({"x": x})["y"] // 10).flatten().tolist() == expected


def test_odd_sizes():
    x = torch.rand(2, 3, 5, 7)
    parts = Quadrants(2).prepare({"x": x})
    assert torch.equal(Quadrants(2).join(parts["x"], parts["y"], (3, 5, 7)), x)


def test_faults(says):
    with says(DataError, "1, 2 or 3", "got 4"):
        Quadrants(4)
    with says(DataError, "Quadrants requires images", "2, 5"):
        Quadrants(1).prepare({"x": torch.rand(2, 5)})
    with says(ShapeError, "6 and 18 pixels", "1, 5, 5"):
        Quadrants(1).join(torch.rand(2, 18), torch.rand(2, 6), (1, 5, 5))
