"""Event shapes and leading dimensions."""

import pytest
import torch

from pyrovae.errors import ShapeError
from pyrovae.networks.shape import as_shape, leading


def test_a_shape_is_a_width_or_a_sequence_of_sizes():
    assert as_shape(20) == (20,)
    assert as_shape([1, 28, 28]) == as_shape((1, 28, 28)) == (1, 28, 28)


@pytest.mark.parametrize("lead", [(), (4,), (2, 0)])
def test_leading_dimensions_are_those_before_the_event(lead):
    assert leading(torch.zeros(*lead, 2, 3), (2, 3), "MLP") == lead


@pytest.mark.parametrize("shape", [(), (3,), (3, 2), (2, 3, 1)])
def test_another_event_shape(shape, says):
    with says(ShapeError, "MLP requires", "(*, 2, 3)", f"got {shape}"):
        leading(torch.zeros(shape), (2, 3), "MLP")
