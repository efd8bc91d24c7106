"""Dense networks: shapes under any leading dimensions, formulas, and where training starts."""

import pytest
import torch
from torch import nn

from pyrovae.networks.dense import MLP, GatedMLP, SkipMLP

NETWORKS = {
    "mlp": lambda: MLP((1, 6, 5), (2, 3), (8,)),
    "skip": lambda: SkipMLP((1, 6, 5), (2, 3), (8,)),
    "gated": lambda: GatedMLP((1, 6, 5), (2, 3), (8, 7)),
}


@pytest.mark.parametrize(("inner", "outer"), [(6, 4), ((1, 3, 2), 4), (6, (2, 5)), ((2, 3), (1, 4, 4))])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 5)])
@pytest.mark.parametrize("kind", [MLP, SkipMLP, GatedMLP])
def test_leading_dimensions_are_kept(kind, lead, inner, outer, hidden):
    network = kind(inner, outer, hidden)
    assert network(torch.randn(*lead, *network.in_shape)).shape == (*lead, *network.out_shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_contract_of_networks(name, keeps_its_contract):
    keeps_its_contract(NETWORKS[name]())


def test_a_gated_layer_is_its_formula():
    network, x = GatedMLP(5, 4, (3,)), torch.randn(7, 5)
    first, _, last = network.layers
    value, gate = first(x).chunk(2, -1)
    torch.testing.assert_close(network(x), last(value * gate.sigmoid()))


def test_a_skip_network_is_a_linear_map_and_a_small_dense_network():
    torch.manual_seed(0)
    network, x = SkipMLP((2, 3), (2, 2), (4,), nn.Tanh), torch.randn(7, 2, 3)
    linear = (x.flatten(1) @ network.skip.weight.T).reshape(7, 2, 2)
    torch.testing.assert_close(network(x), network.mlp(x) + linear)
    torch.manual_seed(0)
    whole = MLP((2, 3), (2, 2), (4,), nn.Tanh)
    assert torch.equal(network.mlp.layers[-1].weight, whole.layers[-1].weight * 0.1)
    assert torch.equal(network.mlp.layers[0].weight, whole.layers[0].weight)


def test_names_of_the_state():
    assert list(MLP(3, 2, (4,)).state_dict()) == [f"layers.{i}.{n}" for i in (0, 2) for n in ("weight", "bias")]
    assert list(GatedMLP(3, 2, (4,)).state_dict()) == list(MLP(3, 2, (4,)).state_dict())


@pytest.mark.parametrize("kind", [MLP, GatedMLP, SkipMLP])
def test_training_starts_at_any_output(kind):
    network, output = kind(5, (2, 3)), torch.randn(2, 3)
    network.start_at(output)
    for last in (network.mlp.layers[-1], network.skip) if kind is SkipMLP else (network.layers[-1],):
        last.weight.data.zero_()
    torch.testing.assert_close(network(torch.randn(7, 5)), output.expand(7, 2, 3))


def test_start_at_leaves_the_weights_trainable():
    network = MLP(5, 3)
    network.start_at(torch.ones(3, requires_grad=True))
    assert network.layers[-1].bias.requires_grad
    assert network.layers[-1].bias.is_leaf
