"""The compressed length of data: images as PNG, whole numbers as bytes."""

import math

import torch

from pyrovae.errors import DataError
from pyrovae.inference import complexity


def test_noise_is_longer_than_a_picture_and_a_picture_longer_than_nothing():
    ramp = torch.linspace(0, 1, 28).expand(28, 28)
    x = torch.stack([torch.zeros(28, 28), ramp, torch.rand(28, 28)]).unsqueeze(1)
    nothing, picture, noise = complexity(x).tolist()
    assert 0 < nothing < picture < noise
    assert noise > 28 * 28 * math.log(256)  # eight bits a pixel, and a header
    assert complexity(x.expand(-1, 3, -1, -1)).shape == (3,)


def test_whole_numbers_are_compressed_as_bytes():
    x = torch.stack([torch.zeros(400), torch.randint(4, (400,)).float()])
    constant, random = complexity(x).tolist()
    assert constant < 0.2 * random
    assert 400 * math.log(4) < random < 2 * 400 * math.log(4)
    assert torch.equal(complexity(x.long()), complexity(x))


def test_data_of_unknown_complexity(says):
    with says(DataError, "complexity requires images", "(40, 5)", "kind='evidence'"):
        complexity(torch.randn(40, 5))
