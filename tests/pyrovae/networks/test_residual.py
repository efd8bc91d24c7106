"""Residual convolutional networks: shapes of any image, gradients, errors, and where training starts."""

import pytest
import torch
from torch import nn

from pyrovae.networks.blocks import ConvBlock
from pyrovae.networks.residual import ResidualConvDecoder, ResidualConvEncoder

IMAGES = [(1, 28, 28), (3, 32, 32), (1, 28, 20), (1, 30, 33), (2, 1, 1), (1, 7, 5)]


@pytest.mark.parametrize("image", IMAGES)
def test_leading_dimensions_are_kept(lead, image):
    encoder, decoder = ResidualConvEncoder(image, 6, (2, 3)), ResidualConvDecoder(5, image, (3, 2))
    assert encoder(torch.randn(*lead, *image)).shape == (*lead, 6)
    assert decoder(torch.randn(*lead, 5)).shape == (*lead, *image)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 8), (9, 9), (13, 6)])
@pytest.mark.parametrize("channels", [(2,), (2, 3), (2, 3, 2)])
def test_odd_sizes_go_down_and_up_again(size, channels):
    """Blocks halve a size and round up; the decoder has the same sizes in reverse order."""
    image = (2, *size)
    encoder, decoder = ResidualConvEncoder(image, 4, channels), ResidualConvDecoder(4, image, channels[::-1])
    down = [block.out_shape for block in encoder.blocks if isinstance(block, ConvBlock)]
    up = [block.in_shape for block in decoder.blocks if isinstance(block, ConvBlock)]
    assert down[::-1] == up
    assert [shape[0] for shape in down] == list(channels)
    assert decoder(encoder(torch.randn(3, *image))).shape == (3, *image)


NETWORKS = {
    "encoder": lambda: ResidualConvEncoder((1, 6, 5), (2, 3), (2, 3)),
    "decoder": lambda: ResidualConvDecoder((2, 3), (1, 6, 5), (3, 2)),
    "odd encoder": lambda: ResidualConvEncoder((3, 7, 3), 4, (3, 2, 2), nn.Tanh),
    "odd decoder": lambda: ResidualConvDecoder((2, 1), (3, 7, 3), (2, 2, 3), nn.Tanh),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_contract_of_networks(name, keeps_its_contract):
    keeps_its_contract(NETWORKS[name]())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_input_has_a_gradient_everywhere(name):
    network = NETWORKS[name]()
    x = torch.randn(2, *network.in_shape, requires_grad=True)
    network(x).sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad != 0).all()


def test_a_decoder_starts_at_the_mean_of_each_channel():
    network, output = ResidualConvDecoder(5, (3, 8, 8), (4, 2)), torch.randn(3, 8, 8)
    network.start_at(output)
    network.blocks[-1].weight.data.zero_()
    expected = output.mean((1, 2)).reshape(3, 1, 1).expand(7, 3, 8, 8)
    torch.testing.assert_close(network(torch.randn(7, 5)), expected)
    assert network.blocks[-1].bias.requires_grad
