"""Modules of Pyro and of torch, and every autoguide."""

from collections.abc import Callable, Iterator
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import Tensor, nn

Case = Callable[[Any], Iterator[Any]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


class Regression(PyroModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = PyroSample(dist.Normal(0.0, 1.0))
        self.noise = PyroParam(torch.tensor(1.0), constraint=dist.constraints.positive)

    def forward(self, x: Tensor) -> None:
        loc = self.weight * x
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, self.noise), obs=x)


class Mixed(PyroModule):
    """Parameters of its own, and parameters of the store."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = PyroParam(torch.tensor(0.2))

    def forward(self, x: Tensor) -> None:
        pyro.sample(
            "z", dist.Normal(self.loc, pyro.param("s", torch.tensor(0.5), constraint=dist.constraints.positive))
        )


class Outer(PyroModule):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Mixed()

    def forward(self, x: Tensor) -> None:
        self.inner(x)


@case
def a_bayesian_regression(own: Any) -> Iterator[float]:
    model = Regression()
    return own.steps(own.svi(model, pyro.infer.autoguide.AutoNormal(model)))


CASES["a_module_with_parameters_of_the_store"] = lambda own: own.steps(own.svi(own.model, Mixed()))
CASES["a_module_in_a_module"] = lambda own: own.steps(own.svi(own.model, Outer()))


@case
def a_module_with_local_parameters(own: Any) -> Iterator[float]:
    with pyro.settings.context(module_local_params=True):
        model = Regression()
        yield from own.steps(own.svi(model, pyro.infer.autoguide.AutoNormal(model)))


@case
def dropout_that_is_switched_off(own: Any) -> Iterator[float]:
    dropout = nn.Dropout(0.5)
    svi = own.svi(lambda x: own.model(x, shift=dropout(torch.ones(len(x)))))
    return own.steps(svi, lambda step: dropout.train(step < 6))


@case
def batch_normalisation(own: Any) -> Iterator[float]:
    norm = nn.BatchNorm1d(1)
    svi = own.svi(lambda x: own.model(x, shift=pyro.module("norm", norm)(x[:, None])[:, 0]))
    return own.steps(svi, lambda step: norm.train(step % 4 != 3))


@case
def a_buffer_that_is_replaced(own: Any) -> Iterator[float]:
    module = nn.Module()
    module.register_buffer("shift", torch.tensor(0.0))
    svi = own.svi(lambda x: own.model(x, shift=module.shift))
    return own.steps(svi, lambda step: setattr(module, "shift", torch.tensor(step / 10)))


@case
def a_list_of_parameters_that_grows(own: Any) -> Iterator[float]:
    layers = nn.ParameterList([nn.Parameter(torch.tensor(0.1))])
    svi = own.svi(lambda x: own.model(x, shift=sum(pyro.module("layers", layers))))
    return own.steps(svi, lambda step: layers.append(nn.Parameter(torch.tensor(0.2))) if step == 5 else None)


@case
def a_normalised_weight(own: Any) -> Iterator[float]:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(1, 1))
    svi = own.svi(lambda x: own.model(x, shift=pyro.module("layer", layer)(x[:, None])[:, 0]))
    return own.steps(svi)


def recurrent(kind: type) -> Case:
    def train(own: Any) -> Iterator[float]:
        network = kind(1, 2)
        return own.steps(own.svi(lambda x: own.model(x, shift=pyro.module("rnn", network)(x[:, None])[0].sum(-1))))

    return train


CASES |= {f"a_guide_with_{kind.__name__}": recurrent(kind) for kind in (nn.RNN, nn.GRU, nn.LSTM)}


@pytest.mark.parametrize("program", CASES.values(), ids=CASES)
def test_the_numbers_are_those_of_pyro(program, as_pyro):
    as_pyro(program)


AUTOGUIDES = [
    "AutoNormal",
    "AutoDiagonalNormal",
    "AutoMultivariateNormal",
    "AutoLowRankMultivariateNormal",
    "AutoDelta",
    "AutoIAFNormal",
    "AutoHierarchicalNormalMessenger",
    "AutoNormalMessenger",
    "AutoLaplaceApproximation",
    "AutoGaussian",
]


@pytest.mark.filterwarnings("ignore:Found non-auxiliary vars in guide but not model")
@pytest.mark.parametrize("name", AUTOGUIDES)
@pytest.mark.parametrize("outer", ["itself", "in a function", "scaled"])
def test_autoguides(name, outer, as_pyro):
    def program(own: Any) -> Iterator[float]:
        def model(x: Tensor) -> None:
            loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
            slope = pyro.sample("slope", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(loc + slope.sum() * x, 1.0), obs=x)

        auto = getattr(pyro.infer.autoguide, name)(model)
        guides = {
            "itself": auto,
            "in a function": lambda x: auto(x),
            "scaled": pyro.poutine.scale(auto, scale=0.5),
        }
        yield from own.steps(own.svi(model, guides[outer]))
        yield pyro.get_param_store().get_state()["params"].keys().__len__()

    warned, graphs = as_pyro(program)
    assert graphs
    assert not warned
