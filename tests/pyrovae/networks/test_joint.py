"""Networks of several inputs: an MLP of their concatenation."""

import pytest
import torch
from torch import nn

from pyrovae.errors import ShapeError
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP, one_hot


def test_labels_become_indicators_and_the_unknown_one_nothing():
    y = torch.tensor([[0, 2], [1, -1]])
    expected = torch.tensor([[[1.0, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 0]]])
    assert torch.equal(one_hot(y, 3), expected)
    assert one_hot(y, 3, torch.float64).dtype == torch.float64


@pytest.mark.parametrize("hidden", [(), (5,), (5, 6)])
def test_it_is_the_mlp_of_its_inputs_side_by_side(hidden):
    joint, mlp = JointMLP([(2, 3), 4, 3], (2, 2), hidden, nn.Tanh), MLP(6 + 4 + 3, (2, 2), hidden, nn.Tanh)
    mlp.load_state_dict(joint.mlp.state_dict())
    a, b, y = torch.randn(7, 2, 3), torch.randn(7, 4), torch.randint(3, (7,))
    torch.testing.assert_close(joint(a, b, y), mlp(torch.cat([a.flatten(1), b, one_hot(y, 3)], -1)))


def test_leading_dimensions_broadcast():
    joint = JointMLP([(2, 3), 4], 5, (6,))
    x, y = torch.randn(7, 2, 3), torch.arange(4).reshape(4, 1)
    together = joint(x, y)
    assert together.shape == (4, 7, 5)
    for label in range(4):
        torch.testing.assert_close(together[label], joint(x, torch.full((7,), label)))


def test_it_starts_at_an_output():
    joint = JointMLP([3, 2], (1, 2), (4,))
    joint.start_at(torch.tensor([[3.0, -2.0]]))
    assert torch.equal(joint.mlp.layers[-1].bias, torch.tensor([3.0, -2.0]))


def test_one_input_is_emphasised():
    joint, x, y = JointMLP([3, 2], 1, ()), torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    before = joint(x, y) - joint(x, y - 2)
    joint.emphasise(1, 5.0)
    torch.testing.assert_close(joint(x, y) - joint(x, y - 2), 5 * before)


def test_double_precision():
    assert JointMLP([3, 2], 1).double()(torch.zeros(4, 3).double(), torch.zeros(4).long()).dtype == torch.float64


def test_inputs_that_do_not_fit(says):
    joint = JointMLP([(2, 3), 4], 5)
    with says(ShapeError, "2 inputs", "got 1"):
        joint(torch.randn(7, 2, 3))
    with says(ShapeError, "(*, 2, 3)", "(7, 6)"):
        joint(torch.randn(7, 6), torch.zeros(7).long())
