"""Networks: shapes under any leading dimensions, where training starts, bounded scales, what errors say."""

import math

import pytest
import torch

from pyrovae.errors import PyrovaeError, ShapeError
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP, GatedMLP, SkipMLP
from pyrovae.networks.residual import ResidualConvDecoder, ResidualConvEncoder
from pyrovae.numeric import bounded_scale

LEADS = [(), (4,), (2, 4), (2, 1, 4), (0,), (3, 0)]
IMAGES = [(1, 28, 28), (3, 32, 32), (1, 28, 20), (1, 30, 33), (2, 1, 1), (1, 7, 5)]


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(("inner", "outer"), [(6, 4), ((1, 3, 2), 4), (6, (2, 5)), ((2, 3), (1, 4, 4))])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 5)])
def test_an_mlp_keeps_leading_dimensions(lead, inner, outer, hidden):
    network = MLP(inner, outer, hidden)
    assert network(torch.randn(*lead, *network.in_shape)).shape == (*lead, *network.out_shape)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(("up", "down"), [(ConvEncoder, ConvDecoder), (ResidualConvEncoder, ResidualConvDecoder)])
def test_convolutions_keep_leading_dimensions(lead, image, up, down):
    encoder, decoder = up(image, 6, (2, 3)), down(5, image, (3, 2))
    assert encoder(torch.randn(*lead, *image)).shape == (*lead, 6)
    assert decoder(torch.randn(*lead, 5)).shape == (*lead, *image)


def test_the_architecture_of_the_tutorials():
    encoder, decoder = ConvEncoder((1, 28, 28), 64), ConvDecoder(32, (1, 28, 28))
    assert [c.out_channels for c in encoder.convolutions if hasattr(c, "stride")] == [8, 16, 32]
    assert encoder.head.in_features == 32 * 4 * 4
    assert decoder.coarse == (32, 4, 4)
    colour = ConvDecoder(64, (3, 32, 32), (96, 48, 24, 12))
    assert colour.coarse == (96, 2, 2)


NETWORKS = {
    "mlp": lambda: MLP((1, 6, 5), (2, 3), (8,)),
    "encoder": lambda: ConvEncoder((1, 6, 5), (2, 3), (2, 3)),
    "decoder": lambda: ConvDecoder((2, 3), (1, 6, 5), (3, 2)),
    "skip": lambda: SkipMLP((1, 6, 5), (2, 3), (8,)),
    "gated": lambda: GatedMLP((1, 6, 5), (2, 3), (8, 7)),
    "residual encoder": lambda: ResidualConvEncoder((1, 6, 5), (2, 3), (2, 3)),
    "residual decoder": lambda: ResidualConvDecoder((2, 3), (1, 6, 5), (3, 2)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_leading_dimensions_change_no_number(name):
    network = NETWORKS[name]().double()
    x = torch.randn(3, 4, *network.in_shape, dtype=torch.float64)
    whole, flat = network(x), network(x.flatten(0, 1)).unflatten(0, (3, 4))
    torch.testing.assert_close(whole, flat)
    torch.testing.assert_close(whole[1, 2], network(x[1, 2]))
    assert not torch.allclose(whole[1, 2], whole[1, 3])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_has_a_gradient(name):
    network = NETWORKS[name]()
    network(torch.randn(9, *network.in_shape)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(4,), (2, 2, 2, 2), (2, 1, 5, 6), (3, 2), ()])
def test_a_wrong_shape_names_both_shapes(name, shape, says):
    network = NETWORKS[name]()
    event = ", ".join(map(str, network.in_shape))
    with says(ShapeError, type(network).__name__, f"(*, {event})", f"got {tuple(shape)}", "x.shape[1:]"):
        network(torch.zeros(shape))
    assert issubclass(ShapeError, PyrovaeError)
    assert issubclass(ShapeError, ValueError)


def test_a_gated_layer_is_its_formula():
    network, x = GatedMLP(5, 4, (3,)), torch.randn(7, 5)
    first, _, last = network.layers
    value, gate = first(x).chunk(2, -1)
    torch.testing.assert_close(network(x), last(value * gate.sigmoid()))


def test_an_mlp_starts_at_any_output():
    network, output = MLP(5, (2, 3)), torch.randn(2, 3)
    network.start_at(output)
    network.layers[-1].weight.data.zero_()
    torch.testing.assert_close(network(torch.randn(7, 5)), output.expand(7, 2, 3))


@pytest.mark.parametrize("kind", [ConvDecoder, ResidualConvDecoder])
def test_a_convolutional_decoder_starts_at_the_mean_of_each_channel(kind):
    network, output = kind(5, (3, 8, 8), (4, 2)), torch.randn(3, 8, 8)
    network.start_at(output)
    last = network.convolutions if kind is ConvDecoder else network.blocks
    last[-1].weight.data.zero_()
    expected = output.mean((1, 2)).reshape(3, 1, 1).expand(7, 3, 8, 8)
    torch.testing.assert_close(network(torch.randn(7, 5)), expected)


def test_start_at_leaves_the_weights_trainable():
    network = MLP(5, 3)
    network.start_at(torch.ones(3, requires_grad=True))
    assert network.layers[-1].bias.requires_grad
    assert network.layers[-1].bias.is_leaf


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bounded_scale_is_bounded_and_keeps_its_gradient(dtype):
    raw = torch.tensor([-1e9, -1e3, -50.0, -7.0, 0.0, 7.0, 50.0, 1e3, 1e9], dtype=dtype, requires_grad=True)
    scale = bounded_scale(raw)
    assert scale.min() >= math.exp(-7) * (1 - 1e-5)
    assert scale.max() <= math.exp(7) * (1 + 1e-5)
    assert (scale.diff() >= 0).all()
    (gradient,) = torch.autograd.grad(scale.log().sum(), raw)
    assert gradient.isfinite().all()
    assert (gradient[raw.abs() <= 50] > 0).all()


def test_a_bounded_scale_is_the_exponential_near_zero():
    raw = torch.linspace(-0.5, 0.5, 11, dtype=torch.float64)
    torch.testing.assert_close(bounded_scale(raw), raw.exp(), rtol=1e-3, atol=0)
    assert bounded_scale(torch.zeros(())) == 1
