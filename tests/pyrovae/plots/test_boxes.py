"""Pictures of boxes on images."""

import pytest
import torch

from pyrovae import plots
from pyrovae.errors import ShapeError


def test_boxes_are_on_the_originals_only():
    images, found = torch.rand(3, 1, 10, 12), torch.tensor([[[1.0, 2, 4, 5], [0, 0, 12, 10]]] * 3)
    shown = torch.tensor([[1, 1], [0, 0], [1, 0]])
    figure = plots.boxes(images, images / 2, found, shown, columns=2)
    (axes,) = figure.axes
    patches = [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in axes.patches]
    # The third image begins the second pair of rows: two rows of 10 pixels with a gap of 2 above it.
    assert patches == [(0.5, 1.5, 4, 5), (-0.5, -0.5, 12, 10), (0.5, 25.5, 4, 5)]
    colours = [patch.get_edgecolor() for patch in axes.patches]
    assert colours[0] == colours[2] != colours[1]
    assert torch.as_tensor(axes.images[0].get_array()).shape == (46, 26)


@pytest.mark.parametrize("shape", [(3, 2, 3), (2, 2, 4), (3, 4)])
def test_boxes_of_another_shape_are_refused(shape, says):
    images = torch.rand(3, 1, 5, 5)
    with says(ShapeError, "boxes requires K boxes (N, K, 4)", "3 images", str(shape)):
        plots.boxes(images, images, torch.zeros(shape), torch.zeros(shape[:2]))
    with says(ShapeError, "(3, 1)"):
        plots.boxes(images, images, torch.zeros(3, 2, 4), torch.zeros(3, 1))
