"""What the tests of pictures share."""

import pytest
import torch


@pytest.fixture
def picture():
    """The pixels that a figure of one picture shows."""

    def find(figure):
        (axes,) = figure.axes
        (image,) = axes.images
        return torch.as_tensor(image.get_array())

    return find


@pytest.fixture
def flat():
    """Images that are each of one grey, 1/2N, 3/2N, ..."""

    def make(count, channels=1, size=(2, 3)):
        return ((torch.arange(count) + 0.5) / count).reshape(-1, 1, 1, 1).expand(count, channels, *size)

    return make


@pytest.fixture
def labels():
    """The words at ticks."""
    return lambda ticks: [label.get_text() for label in ticks]
