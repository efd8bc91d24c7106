"""How programs are called: the arguments that they name, their modules, and the size of a batch."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints

from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.pair.contract import batch_size, call, filled, local_params, modules, takes


class Owner(nn.Module):
    """Two programs that are methods of one module."""

    def model(self, x, *, size=None):
        return x

    def guide(self, x):
        return x


def test_a_program_gets_what_it_names():
    seen = call(lambda x, y=2, *, z=3: (x, y, z), {"x": 1, "w": 9, "z": 7}, data_size=5)
    assert seen == (1, 2, 7)
    assert call(lambda x, data_size: (x, data_size), {"x": 1}, data_size=5) == (1, 5)
    assert call(lambda x, data_size: data_size, {"x": 1, "data_size": 6}, data_size=5) == 6  # the data go first


def test_a_program_that_takes_anything_gets_the_batch():
    assert call(lambda **batch: batch, {"x": 1, "w": 9}, data_size=5) == {"x": 1, "w": 9}
    assert call(lambda x, data_size, **batch: (x, data_size, batch), {"x": 1, "w": 9}, data_size=5) == (1, 5, {"w": 9})


def test_a_module_is_called_by_the_signature_of_its_forward():
    assert call(nn.Identity(), {"input": 1, "w": 9}) == 1


def test_a_missing_argument_is_named(says):
    def conditional(x, label, y=None):
        return x

    with says(PairError, "conditional requires 'label'", "got a batch of 'x', 'w'", "default"):
        call(conditional, {"x": 1, "w": 2})
    assert call(conditional, {"x": 1}, label=3) == 1


def test_takes(vae):
    assert takes(vae(), "size")
    assert not takes(vae(), "data_size")
    assert takes(Owner().model, "x")
    assert not takes(Owner().model, "self")
    assert not takes(lambda **batch: None, "x")


def test_modules_are_listed_once(model, guide, vae):
    own, owner = vae(), Owner()
    assert modules(own, own, model) == [own]
    assert modules(owner.model, owner.guide) == [owner]
    assert modules(model, guide) == []


def test_parameters_are_local_inside_only():
    class Scaled(PyroModule):
        """Built with Pyro's default setting, under which its parameters are global."""

        def __init__(self):
            super().__init__()
            self.scale = PyroParam(torch.tensor(1.0), constraint=constraints.positive)

        def forward(self):
            return pyro.sample("z", dist.Normal(0.0, self.scale))

    module = Scaled()
    with local_params(module):
        assert pyro.settings.get("module_local_params") is True
        module().backward()
    assert pyro.settings.get("module_local_params") is False
    assert not list(pyro.get_param_store())
    assert module.scale_unconstrained.grad is not None


def test_batch_size():
    assert batch_size({"x": torch.zeros(4, 2), "y": torch.zeros(4)}) == 4


@pytest.mark.parametrize(
    "batch",
    [
        {"x": torch.zeros(3, 2), "y": torch.zeros(4)},
        {"x": torch.zeros(())},
        {},
        {"x": torch.zeros(3), "y": torch.tensor(1)},
    ],
)
def test_tensors_of_unequal_length(batch, says):
    with says(ShapeError, "share the leading dimension", "(B, *event)"):
        batch_size(batch)


def test_data_of_no_rows(says):
    assert filled("evaluate", {"x": torch.zeros(4, 2)}) == 4
    with says(PairError, "evaluate requires data points", "empty batch", "data.test"):
        filled("evaluate", {"x": torch.zeros(0, 2)})
