"""Bijections: inverses and Jacobians."""

import pytest
import torch
from torch import nn

from pyrovae.errors import ShapeError
from pyrovae.networks.bijections import Coupling, InverseAutoregressive

DIM = 5


def coupling():
    return Coupling(DIM, (7,)), ()


def autoregressive():
    return InverseAutoregressive(DIM, 3, (9, 8)), (torch.randn(3).double(),)


@pytest.fixture(params=[coupling, autoregressive])
def step(request):
    module, context = request.param()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.double(), context


def test_the_inverse(step):
    module, context = step
    u = torch.randn(2, 4, DIM).double()
    z, log_det = module(u, *context)
    back, same = module.inverse(z, *context)
    torch.testing.assert_close(back, u)
    torch.testing.assert_close(same, log_det)
    assert log_det.shape == (2, 4)
    assert not torch.allclose(u, z)


def test_the_jacobian(step):
    module, context = step
    u = torch.randn(DIM).double()
    jacobian = torch.autograd.functional.jacobian(lambda v: module(v, *context)[0], u)
    torch.testing.assert_close(jacobian.slogdet().logabsdet, module(u, *context)[1])


def test_each_entry_of_an_autoregressive_step_depends_on_those_before():
    module, h = InverseAutoregressive(DIM, 3, (9,)), torch.randn(3)
    jacobian = torch.autograd.functional.jacobian(lambda v: module(v, h)[0].flip(-1), torch.randn(DIM))
    assert torch.equal(jacobian, jacobian.tril())
    assert (jacobian.diag() > 0).all()


def test_a_step_of_one_entry_or_too_narrow(says):
    with says(ShapeError, "Coupling", "dim=1"):
        Coupling(1)
    with says(ShapeError, "at least as wide as z, 5", "(4,)"):
        InverseAutoregressive(5, 2, (4,))
