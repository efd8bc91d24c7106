"""Programs: the module owns its parameters, and a call does not change Pyro's global state."""

import copy
import io
from abc import abstractmethod

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroParam
from torch import nn
from torch.distributions import constraints

from pyrovae.errors import PairError
from pyrovae.models import Program
from pyrovae.models.program import plate_size


class Scales(Program):
    """A normal with a learned, positive scale: a PyroParam, which Pyro would keep in its global store."""

    def __init__(self):
        super().__init__()
        self.scale = PyroParam(torch.tensor(2.0), constraint=constraints.positive)
        self.network = nn.Linear(1, 1)

    def forward(self, x=None, *, size=None):
        with pyro.plate("data", plate_size(x, size), dim=-1):
            return pyro.sample("x", dist.Normal(self.network(torch.zeros(1)), self.scale).to_event(1), obs=x)


def test_nothing_is_put_into_the_global_store():
    program = Scales()
    program(size=3)
    program(torch.zeros(2, 1))
    assert not list(pyro.get_param_store())


def test_two_programs_do_not_share_parameters():
    one, other = Scales(), Scales()
    one(size=1), other(size=1)
    with torch.no_grad():
        one.scale_unconstrained.fill_(5.0)
        one.network.weight.fill_(5.0)
    assert other.scale_unconstrained.item() == pytest.approx(torch.tensor(2.0).log().item())
    assert other.network.weight.item() != 5
    one(size=1), other(size=1)
    assert other.scale_unconstrained.item() != one.scale_unconstrained.item()


@pytest.mark.parametrize("setting", [False, True])
def test_a_call_leaves_the_settings_unchanged(setting):
    with pyro.settings.context(module_local_params=setting):
        Scales()(size=1)
        assert pyro.settings.get("module_local_params") is setting


def test_a_call_that_fails_leaves_the_settings_unchanged():
    with pytest.raises(PairError):
        Scales()()
    assert pyro.settings.get("module_local_params") is False


def test_a_state_dict_goes_round():
    one, other = Scales(), Scales()
    one.scale = torch.tensor(0.25)
    one.network.weight.data.fill_(3.0)
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert set(one.state_dict()) == {"scale_unconstrained", "network.weight", "network.bias"}
    torch.manual_seed(1)
    first = one(size=4)
    torch.manual_seed(1)
    assert torch.equal(other(size=4), first)


def test_parameters_are_those_of_the_module():
    program = Scales()
    program(torch.zeros(3, 1)).sum()
    with pyro.poutine.trace() as tracer:
        program(torch.ones(3, 1))
    tracer.trace.log_prob_sum().backward()
    assert len(list(program.parameters())) == 3
    assert program.scale_unconstrained.grad is not None
    assert program.network.bias.grad is not None


def test_a_copy_is_independent():
    one = Scales()
    other = copy.deepcopy(one)
    one.network.weight.data.fill_(7.0)
    other(size=2)
    assert other.network.weight.item() != 7
    assert not list(pyro.get_param_store())


def test_it_follows_its_dtype():
    assert Scales().double().network.weight.dtype == torch.float64


@pytest.mark.parametrize(
    ("x", "size", "expected"), [(torch.zeros(4, 2), None, 4), (None, 3, 3), (torch.zeros(4), 4, 4)]
)
def test_plate_size(x, size, expected):
    assert plate_size(x, size) == expected


def test_plate_size_of_nothing(says):
    with says(PairError, "data or a size", "model(size=16)"):
        plate_size(None, None)


def test_an_abstract_program_cannot_be_built(says):
    class Abstract(Program):
        @abstractmethod
        def story(self):
            """What a subclass must tell."""

    class Told(Abstract):
        def story(self):
            return "once"

    with says(TypeError, "Abstract", "story"):
        Abstract()
    assert Told().story() == "once"
