"""The contract of every network of one input, as checks that each module's test calls."""

import pytest
import torch

from pyrovae.errors import PyrovaeError, ShapeError

LEADS = [(), (4,), (2, 4), (2, 1, 4), (0,), (3, 0)]
WRONG = [(4,), (2, 2, 2, 2), (2, 1, 5, 6), (3, 2), ()]


@pytest.fixture(params=LEADS, ids=str)
def lead(request):
    """Leading dimensions, including none and empty ones."""
    return request.param


@pytest.fixture
def keeps_its_contract(says):
    """Check that leading dimensions change no number, every parameter has a gradient, and errors name both shapes."""

    def check(network):
        leading_dimensions_change_no_number(network)
        every_parameter_has_a_gradient(network)
        for shape in WRONG:
            a_wrong_shape_names_both_shapes(network, shape, says)

    return check


def leading_dimensions_change_no_number(network):
    network = network.double()
    x = torch.randn(3, 4, *network.in_shape, dtype=torch.float64)
    whole, flat = network(x), network(x.flatten(0, 1)).unflatten(0, (3, 4))
    torch.testing.assert_close(whole, flat)
    torch.testing.assert_close(whole[1, 2], network(x[1, 2]))
    assert not torch.allclose(whole[1, 2], whole[1, 3])
    network.float()


def every_parameter_has_a_gradient(network):
    network(torch.randn(9, *network.in_shape)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def a_wrong_shape_names_both_shapes(network, shape, says):
    event = ", ".join(map(str, network.in_shape))
    with says(ShapeError, type(network).__name__, f"(*, {event})", f"got {tuple(shape)}", "x.shape[1:]"):
        network(torch.zeros(shape))
    assert issubclass(ShapeError, PyrovaeError)
    assert issubclass(ShapeError, ValueError)
