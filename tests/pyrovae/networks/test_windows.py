"""Windows of a canvas, against known pixels, torch's own sampling, and each other; and attention."""

import math

import pytest
import torch
from torch.nn import functional

from pyrovae.errors import ShapeError
from pyrovae.networks import Attention, box, glimpse, place


def where(scale, x, y):
    return torch.tensor([math.log(scale), x, y]).double()


def test_a_box_lands_on_its_pixels():
    """A window of a half of 8 x 12 pixels, centred at (1/3, -1/4), is rows 1 to 4 and columns 5 to 10."""
    canvas = place(torch.ones(1, 4, 6).double(), where(0.5, 1 / 3, -1 / 4), (1, 8, 12))
    wanted = torch.zeros(1, 8, 12).double()
    wanted[:, 1:5, 5:11] = 1
    torch.testing.assert_close(canvas, wanted)
    left, top, width, height = box(where(0.5, 1 / 3, -1 / 4), (1, 8, 12)).tolist()
    assert (left, top, width, height) == pytest.approx((5, 1, 6, 4))


def test_an_image_keeps_its_pixels_where_the_grids_agree():
    image = torch.rand(2, 4, 6).double()
    canvas = place(image, where(0.5, 1 / 3, -1 / 4), (2, 8, 12))
    torch.testing.assert_close(canvas[:, 1:5, 5:11], image)
    assert canvas.sum() == pytest.approx(image.sum().item())
    torch.testing.assert_close(glimpse(canvas, where(0.5, 1 / 3, -1 / 4), (2, 4, 6)), image)


def test_a_glimpse_of_what_was_placed_is_the_image():
    """At any place and size: a linear ramp is interpolated exactly, except at the edge of the image."""
    down, right = torch.meshgrid(torch.arange(9), torch.arange(7), indexing="ij")
    image = (1 + 2 * down + 3 * right).double().unsqueeze(0)
    at = where(0.43, 0.17, -0.21)
    again = glimpse(place(image, at, (1, 40, 50)), at, (1, 9, 7))
    torch.testing.assert_close(again[:, 1:-1, 1:-1], image[:, 1:-1, 1:-1])


def grid(at, forth, size):
    """torch's grid of windows `(n, 3)`, in or out of the window's coordinates."""
    s, (x, y) = at[:, 0].exp(), at[:, 1:].T
    zero = torch.zeros_like(s)
    rows = ([s, zero, x], [zero, s, y]) if forth else ([1 / s, zero, -x / s], [zero, 1 / s, -y / s])
    theta = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return functional.affine_grid(theta, [len(at), 3, *size], align_corners=False)


def test_the_numbers_are_those_of_torch():
    at = torch.randn(20, 3).double() * 0.4
    image, canvas = torch.rand(20, 3, 5, 6).double(), torch.rand(20, 3, 11, 9).double()
    options = {"align_corners": False, "padding_mode": "zeros"}
    out = functional.grid_sample(image, grid(at, False, (11, 9)), **options)
    torch.testing.assert_close(place(image, at, (3, 11, 9)), out)
    out = functional.grid_sample(canvas, grid(at, True, (5, 6)), **options)
    torch.testing.assert_close(glimpse(canvas, at, (3, 5, 6)), out)


def test_leading_dimensions_broadcast():
    image, at = torch.rand(4, 1, 1, 1, 5, 5), torch.randn(6, 2, 3) * 0.3
    canvas = place(image, at, (1, 9, 9))
    assert canvas.shape == (4, 6, 2, 1, 9, 9)
    torch.testing.assert_close(canvas[3, 5, 1], place(image[3, 0, 0], at[5, 1], (1, 9, 9)))
    assert glimpse(canvas, at, (1, 5, 5)).shape == (4, 6, 2, 1, 5, 5)


def test_the_place_has_a_gradient():
    at = (torch.randn(3, 3).double() * 0.3).requires_grad_()
    image = torch.rand(3, 1, 4, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: place(a, b, (1, 7, 7)), (image, at))


def test_a_canvas_of_another_shape(says):
    with says(ShapeError, "place requires the shape of an image", "(7, 7)"):
        place(torch.ones(1, 4, 4), torch.zeros(3), (7, 7))
    with says(ShapeError, "glimpse requires the shape of an image", "(7,)"):
        glimpse(torch.ones(1, 4, 4), torch.zeros(3), (7,))
    with says(ShapeError, "box requires the shape of an image"):
        box(torch.zeros(3), (7, 7))


# -------------------------------------------------------------------------------------------------- attention


def test_attention_is_the_weighted_mean_by_hand():
    network = Attention((2, 9, 12), 5, (3, 4)).double()
    x = torch.randn(3, 2, 9, 12).double()
    features = network.convolutions(x)  # 3 x 3 places
    assert features.shape[-2:] == (3, 3)
    weights = network.score(features).flatten(1).softmax(-1).reshape(3, 3, 3)
    means = [(weights.unsqueeze(1) * features).sum((-2, -1))]
    line = torch.tensor([-1.0, 0, 1]).double()
    means += [(weights.sum(-2) * line).sum(-1, keepdim=True), (weights.sum(-1) * line).sum(-1, keepdim=True)]
    torch.testing.assert_close(network(x), network.head(torch.cat(means, -1)))


def test_attention_takes_leading_dimensions():
    network = Attention((1, 8, 8), (2, 3), (4,))
    x = torch.rand(4, 5, 1, 8, 8)
    assert network(x).shape == (4, 5, 2, 3)
    torch.testing.assert_close(network(x)[2, 3], network(x[2, 3]))


def test_attention_of_other_images(says):
    with says(ShapeError, "Attention requires", "(*, 1, 8, 8)"):
        Attention((1, 8, 8), 3)(torch.rand(2, 1, 8, 9))
