"""Residual blocks: shapes, leading dimensions, shortcuts."""

import pytest
import torch

from pyrovae.errors import ShapeError
from pyrovae.networks.blocks import ConvBlock, ConvHead, DenseBlock


@pytest.mark.parametrize("lead", [(), (4,), (2, 4)])
@pytest.mark.parametrize("side", [0, 2])
def test_a_dense_block_takes_any_leading_dimensions(lead, side):
    block = DenseBlock(3, 5, 4, side)
    z = torch.randn(*lead, side) if side else None
    assert block(torch.randn(*lead, 3), z).shape == (*lead, 5)


@pytest.mark.parametrize("lead", [(), (4,), (2, 4)])
@pytest.mark.parametrize(
    ("size", "new"), [((6, 5), (6, 5)), ((6, 5), (3, 3)), ((3, 3), (6, 5)), ((7, 7), (14, 14)), ((28, 28), (14, 14))]
)
def test_a_convolutional_block_keeps_halves_or_doubles(lead, size, new):
    block = ConvBlock((3, *size), (2, *new), 4, side=1)
    assert block(torch.randn(*lead, 3, *size), torch.randn(*lead, 1, *size)).shape == (*lead, 2, *new)


@pytest.mark.parametrize("size", [(6, 5), (3, 3), (12, 10)])
def test_leading_dimensions_are_data(size):
    block, h, z = ConvBlock((3, 6, 5), (2, *size), 4, side=1), torch.randn(2, 4, 3, 6, 5), torch.randn(2, 4, 1, 6, 5)
    one_by_one = torch.stack(
        [torch.stack([block(a, b) for a, b in zip(*row, strict=True)]) for row in zip(h, z, strict=True)]
    )
    torch.testing.assert_close(block(h, z), one_by_one, rtol=1e-4, atol=1e-5)


def test_without_its_inner_part_a_block_is_the_shortcut():
    dense, conv = DenseBlock(3, 3, 4), ConvBlock((3, 6, 6), (3, 6, 6), 4)
    for block in (dense, conv):
        torch.nn.init.zeros_(block.outer.weight)
        torch.nn.init.zeros_(block.outer.bias)
        h = torch.randn(2, *block.in_shape)
        assert torch.equal(block(h), h)


def test_training_starts_near_the_data():
    block, mean = ConvBlock((3, 3, 3), (2, 6, 6), 4), torch.tensor([5.0, -3.0])
    block.start_at(mean.reshape(2, 1, 1).expand(2, 6, 6))
    torch.testing.assert_close(block(torch.zeros(3, 3, 3)).mean((-2, -1)), mean, rtol=0, atol=0.8)


def test_a_size_that_is_neither_half_nor_double(says):
    with says(ShapeError, "stays, halves or doubles", "(3, 6, 6)", "(3, 4, 4)"):
        ConvBlock((3, 6, 6), (3, 4, 4), 4)


@pytest.mark.parametrize("lead", [(), (4,), (2, 4)])
def test_a_head_is_one_linear_map_at_each_pixel(lead):
    head, h = ConvHead((3, 6, 5), 2), torch.randn(*lead, 3, 6, 5)
    by_pixel = (
        torch.einsum("oc,...chw->...ohw", head.outer.weight[:, :, 0, 0], h.relu()) + head.outer.bias[:, None, None]
    )
    torch.testing.assert_close(head(h), by_pixel)


def test_a_head_starts_at_a_third_of_the_scale_of_a_block():
    torch.manual_seed(0)
    assert 20 * ConvHead((400, 1, 1), 400).outer.weight.std().item() == pytest.approx(1 / 3, rel=0.02)
