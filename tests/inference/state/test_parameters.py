"""Programs whose parameters appear, disappear, freeze, or are set, loaded and cleared between steps."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

Case = Callable[[Any], Iterator[Any]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.loc, self.scale = nn.Linear(1, 3), nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.first(x[:, None]))
        return self.loc(h)[:, 0], self.scale(h)[:, 0].exp()


class Amortised:
    """A guide of one latent per data point, in the store as `pyro.module`."""

    def __init__(self) -> None:
        self.encoder = Encoder()

    def model(self, x: Tensor) -> None:
        shift = pyro.param("shift", torch.tensor(0.1))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z + shift, 0.5), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(*self.encoder(x)))


class AmortisedModule(PyroModule):
    """The same as a `PyroModule`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(*self.encoder(x)))


def amortised(change: Callable[[int, Any], Any], module: bool = False) -> Case:
    def train(own: Any) -> Iterator[float]:
        pair = Amortised()
        guide = AmortisedModule() if module else pair.guide
        svi = own.svi(pair.model, guide)
        return own.steps(svi, lambda step: change(step, guide if module else pair))

    return train


def _at(when: int, act: Callable[[Any], Any]) -> Callable[[int, Any], Any]:
    return lambda step, thing: act(thing) if step == when else None


def _load(thing: Any) -> None:
    thing.encoder.load_state_dict({name: value * 0.5 for name, value in thing.encoder.state_dict().items()})


def _replace(thing: Any) -> None:
    thing.encoder.loc = nn.Linear(3, 1)


def _new_weight(thing: Any) -> None:
    thing.encoder.loc.bias = nn.Parameter(torch.ones(1))


def _data(thing: Any) -> None:
    thing.encoder.loc.bias.data = torch.full((1,), 0.7)


@torch.no_grad()
def _in_place(thing: Any) -> None:
    thing.encoder.loc.bias.fill_(0.7)


def _gradient(thing: Any) -> None:
    thing.encoder.loc.bias.grad = torch.ones(1)


def _gradient_in_place(thing: Any) -> None:
    thing.encoder.loc.bias.grad.add_(1.0)


def _hook(thing: Any) -> None:
    thing.encoder.loc.weight.register_hook(lambda gradient: 0.1 * gradient)


def _forward_hook(thing: Any) -> None:
    thing.encoder.first.register_forward_hook(lambda module, args, result: 2 * result)


def _pre_hook(thing: Any) -> None:
    thing.encoder.first.register_forward_pre_hook(lambda module, args: (3 * args[0],))


def _backward_hook(thing: Any) -> None:
    thing.encoder.loc.register_full_backward_pre_hook(lambda module, grads: (0.5 * grads[0],))


def _shrink(parameter: Tensor) -> None:
    parameter.grad.mul_(0.1)


def _accumulated_hook(thing: Any) -> None:
    thing.encoder.loc.weight.register_post_accumulate_grad_hook(_shrink)


MIDWAY: dict[str, Callable[[int, Any], Any]] = {
    "nothing_changes": lambda step, thing: None,
    "unfrozen_midway": lambda step, thing: thing.encoder.requires_grad_(step >= 5),
    "frozen_midway": lambda step, thing: thing.encoder.requires_grad_(step < 5),
    "one_weight_unfrozen": lambda step, thing: thing.encoder.first.weight.requires_grad_(step >= 5),
    "weights_loaded": _at(6, _load),
    "a_layer_replaced": _at(6, _replace),
    "a_weight_replaced": _at(6, _new_weight),
    "the_data_of_a_weight": _at(6, _data),
    "a_weight_changed_in_place": _at(6, _in_place),
    "a_gradient_before_the_step": _at(6, _gradient),
    "a_gradient_before_each_step": lambda step, thing: _gradient(thing),
    "a_gradient_changed_in_place": _at(6, _gradient_in_place),
    "gradients_set_to_none": lambda step, thing: thing.encoder.zero_grad(),
    "a_gradient_hook": _at(6, _hook),
    "a_forward_hook": _at(6, _forward_hook),
    "a_forward_pre_hook": _at(6, _pre_hook),
    "backward_hooks": _at(6, _backward_hook),
    "a_hook_after_accumulation": _at(6, _accumulated_hook),
}
for _name, _change in MIDWAY.items():
    CASES[f"store_{_name}"] = amortised(_change)
    CASES[f"module_{_name}"] = amortised(_change, module=True)


# Parameters that come and go ------------------------------------------------------------------------------------------


def coming(shift: Callable[[int], Any]) -> Case:
    """A model whose shift is computed from parameters that depend on the number of the step."""

    def train(own: Any) -> Iterator[float]:
        number = 0

        def model(x: Tensor) -> None:
            own.model(x, shift=shift(number))

        def change(step: int) -> None:
            nonlocal number
            number = step

        return own.steps(own.svi(model), change)

    return train


def _p(name: str, value: float = 0.2) -> Tensor:
    return pyro.param(name, torch.tensor(value))


def _pause(step: int) -> Tensor:
    return _p("a") if step % 2 else torch.tensor(0.0)


COMING: dict[str, Callable[[int], Any]] = {
    "by_a_branch": lambda step: _p("a") + (_p("b") if step > 5 else 0.0),
    "by_an_index": lambda step: _p(f"w{step % 3}"),
    "every_second_step": _pause,
    "once": lambda step: _p("late") if step == 7 else 0.0,
    "without_a_gradient_now_and_then": lambda step: _p("a") if step % 2 else _p("a").detach(),
    "never_with_a_gradient": lambda step: _p("a").detach(),
    "new_at_each_step": lambda step: _p(f"w{step}"),
    "at_random": lambda step: pyro.param("r", lambda: torch.randn(())),
    "constrained": lambda step: pyro.param("c", torch.tensor(0.5), constraint=dist.constraints.unit_interval),
}
for _name, _shift in COMING.items():
    CASES[f"a_parameter_{_name}"] = coming(_shift)


@case
def a_parameter_by_an_argument(own: Any) -> Iterator[float]:
    def model(x: Tensor, more: bool) -> None:
        own.model(x, shift=_p("a") + (_p("b") if more else 0.0))

    svi = own.svi(model)
    return iter([svi.step(own.x, step > 5) for step in range(12)])


@case
def a_parameter_by_the_size(own: Any) -> Iterator[float]:
    def model(x: Tensor) -> None:
        own.model(x, shift=pyro.param(f"shift{len(x)}", torch.zeros(len(x))))

    svi = own.svi(model)
    return iter([svi.step(own.x[: 3 + step % 3]) for step in range(12)])


@case
def no_parameters(own: Any) -> Iterator[float]:
    return own.steps(own.svi(own.model, lambda x: pyro.sample("z", dist.Normal(0.0, 1.0))))


@case
def no_latents(own: Any) -> Iterator[float]:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(_p("loc"), 1.0), obs=x)

    return own.steps(own.svi(model, lambda x: None))


# The store -----------------------------------------------------------------------------------------------------------


def storing(change: Callable[[int, Any, dict], Any]) -> Case:
    def train(own: Any) -> Iterator[float]:
        kept: dict[str, Any] = {}
        return own.steps(own.svi(own.model), lambda step: change(step, pyro.get_param_store(), kept))

    return train


def _save_and_load(step: int, store: Any, kept: dict) -> None:
    if step == 3:
        kept.update(copy.deepcopy(store.get_state()))
    if step == 7:
        store.set_state(kept)


def _set_value(step: int, store: Any, kept: dict) -> None:
    if step in (5, 8):
        store["loc"] = torch.tensor(1.5)


def _delete(step: int, store: Any, kept: dict) -> None:
    if step == 6:
        del store["loc"]


@torch.no_grad()
def _fill(step: int, store: Any, kept: dict) -> None:
    if step == 6:
        pyro.param("loc").unconstrained().fill_(2.0)


def _another_constraint(step: int, store: Any, kept: dict) -> None:
    if step == 6:
        del store["scale"]
        pyro.param("scale", torch.tensor(0.5), constraint=dist.constraints.interval(0.0, 2.0))


CASES["the_store_is_cleared"] = storing(lambda step, store, kept: store.clear() if step == 6 else None)
CASES["the_store_is_cleared_at_each_step"] = storing(lambda step, store, kept: store.clear())
CASES["the_store_is_set"] = storing(_save_and_load)
CASES["a_value_is_set"] = storing(_set_value)
CASES["a_value_is_deleted"] = storing(_delete)
CASES["a_value_is_changed_in_place"] = storing(_fill)
CASES["another_constraint"] = storing(_another_constraint)


@case
def a_scope_of_the_store(own: Any) -> Iterator[float]:
    svi, losses = own.svi(own.model), []
    for step in range(12):
        if step % 4 == 3:
            with pyro.get_param_store().scope():
                losses.append(svi.step(own.x))
        else:
            losses.append(svi.step(own.x))
    return iter(losses)


@case
def another_program_uses_the_store(own: Any) -> Iterator[float]:
    first = own.svi(own.model)
    second = own.svi(lambda x: own.model(x, shift=_p("second")), optim=pyro.optim.SGD({"lr": 0.01}))
    return iter([(first if step % 3 else second).step(own.x) for step in range(12)])


@pytest.mark.filterwarnings("ignore:.*was not registered in the param store because requires_grad=False")
@pytest.mark.parametrize("program", CASES.values(), ids=CASES)
def test_the_numbers_are_those_of_pyro(program, as_pyro):
    as_pyro(program)
