"""Strided convolutional networks: shapes of any image, the usual architecture, and where training starts."""

import pytest
import torch

from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder, halvings

IMAGES = [(1, 28, 28), (3, 32, 32), (1, 28, 20), (1, 30, 33), (2, 1, 1), (1, 7, 5)]


@pytest.mark.parametrize("image", IMAGES)
def test_leading_dimensions_are_kept(lead, image):
    encoder, decoder = ConvEncoder(image, 6, (2, 3)), ConvDecoder(5, image, (3, 2))
    assert encoder(torch.randn(*lead, *image)).shape == (*lead, 6)
    assert decoder(torch.randn(*lead, 5)).shape == (*lead, *image)


NETWORKS = {
    "encoder": lambda: ConvEncoder((1, 6, 5), (2, 3), (2, 3)),
    "decoder": lambda: ConvDecoder((2, 3), (1, 6, 5), (3, 2)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_contract_of_networks(name, keeps_its_contract):
    keeps_its_contract(NETWORKS[name]())


def test_the_architecture_of_the_tutorials():
    encoder, decoder = ConvEncoder((1, 28, 28), 64), ConvDecoder(32, (1, 28, 28))
    assert [c.out_channels for c in encoder.convolutions if hasattr(c, "stride")] == [8, 16, 32]
    assert encoder.head.in_features == 32 * 4 * 4
    assert decoder.coarse == (32, 4, 4)
    colour = ConvDecoder(64, (3, 32, 32), (96, 48, 24, 12))
    assert colour.coarse == (96, 2, 2)


def test_halvings_round_up():
    assert halvings(28, 3) == [28, 14, 7, 4]
    assert halvings(1, 2) == [1, 1, 1]


def test_a_decoder_starts_at_the_mean_of_each_channel():
    network, output = ConvDecoder(5, (3, 8, 8), (4, 2)), torch.randn(3, 8, 8)
    network.start_at(output)
    network.convolutions[-1].weight.data.zero_()
    expected = output.mean((1, 2)).reshape(3, 1, 1).expand(7, 3, 8, 8)
    torch.testing.assert_close(network(torch.randn(7, 5)), expected)
