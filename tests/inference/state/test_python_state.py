"""Programs whose Python state changes between steps: globals, closures, containers, objects, random numbers."""

import random
import types
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

STEPS = 12
X = torch.linspace(-1.0, 2.0, 6)

beta = 1.0
settings: dict[str, Any] = {}
schedule: list[float] = []
batch = X
flag = True


def likelihood(x: Tensor, weight: Any = 1.0, shift: Any = 0.0) -> None:
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)), poutine.scale(scale=weight):
        pyro.sample("x", dist.Normal(z + shift, 1.0), obs=x)


Case = Callable[[Any], Iterator[float]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


# Globals and closures ------------------------------------------------------------------------------------------------


def _set(name: str, value: Any) -> None:
    globals()[name] = value


def a_global_float(values: Callable[[int], float]) -> Case:
    def model(x: Tensor) -> None:
        likelihood(x, weight=beta)

    return lambda own: own.steps(own.svi(model), lambda step: _set("beta", values(step)), X)


CASES["a_global_float"] = a_global_float(lambda step: 0.1 + step / 10)
CASES["a_global_float_that_changes_once"] = a_global_float(lambda step: 0.5 if step < 6 else 2.0)


@case
def a_global_flag(own: Any) -> Iterator[float]:
    def model(x: Tensor) -> None:
        likelihood(x, shift=1.0 if flag else -1.0)

    return own.steps(own.svi(model), lambda step: _set("flag", step % 3 == 0), X)


@case
def a_global_dict(own: Any) -> Iterator[float]:
    def model(x: Tensor) -> None:
        likelihood(x, weight=settings["beta"])

    return own.steps(own.svi(model), lambda step: settings.update(beta=0.1 + step / 10), X)


@case
def a_global_list(own: Any) -> Iterator[float]:
    def model(x: Tensor) -> None:
        likelihood(x, weight=schedule[0])

    schedule[:] = [0.1]
    return own.steps(own.svi(model), lambda step: schedule.__setitem__(0, 0.1 + step / 10), X)


@case
def data_in_a_global(own: Any) -> Iterator[float]:
    def model(unused: Tensor) -> None:
        likelihood(batch)

    return own.steps(own.svi(model), lambda step: _set("batch", X + step))


@case
def a_closure_float(own: Any) -> Iterator[float]:
    weight = 1.0

    def model(x: Tensor) -> None:
        likelihood(x, weight=weight)

    def change(step: int) -> None:
        nonlocal weight
        weight = 0.1 + step / 10

    return own.steps(own.svi(model), change, X)


@case
def a_closure_counter_that_the_model_advances(own: Any) -> Iterator[float]:
    count = 0

    def model(x: Tensor) -> None:
        nonlocal count
        count += 1
        likelihood(x, weight=count / 10)

    return own.steps(own.svi(model), lambda step: None, X)


@case
def a_global_counter_that_the_model_advances(own: Any) -> Iterator[float]:
    settings["count"] = 0

    def model(x: Tensor) -> None:
        settings["count"] += 1
        likelihood(x, weight=settings["count"] / 10)

    return own.steps(own.svi(model), lambda step: None, X)


# Containers, objects, classes ----------------------------------------------------------------------------------------


class Module(nn.Module):
    beta = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.cfg, self.schedule, self.queue = {"beta": 1.0}, [1.0], deque([1.0])
        self.nested = {"a": [{"beta": 1.0}]}
        self.names = types.SimpleNamespace(beta=1.0)
        self.array, self.number = np.ones(3), np.float64(1.0)
        self.plain = 1.0


class Thing:
    """A plain object whose method is the model."""

    beta = 1.0

    def __init__(self) -> None:
        self.weight, self.cfg, self.helper = 1.0, {"beta": 1.0}, types.SimpleNamespace(scale=1.0)


def value(step: int) -> float:
    return 0.1 + step / 10


CHANGES: dict[str, tuple[Callable[[Any], float], Callable[[Any, float], Any]]] = {
    "a_dict_on_a_module": (lambda own: own.cfg["beta"], lambda own, v: own.cfg.update(beta=v)),
    "a_list_on_a_module": (lambda own: own.schedule[0], lambda own, v: own.schedule.__setitem__(0, v)),
    "a_deque_on_a_module": (lambda own: own.queue[0], lambda own, v: own.queue.__setitem__(0, v)),
    "a_nested_container": (lambda own: own.nested["a"][0]["beta"], lambda own, v: own.nested["a"][0].update(beta=v)),
    "a_namespace_on_a_module": (lambda own: own.names.beta, lambda own, v: setattr(own.names, "beta", v)),
    "an_array_changed_in_place": (lambda own: float(own.array[1]), lambda own, v: own.array.__setitem__(1, v)),
    "a_numpy_scalar": (lambda own: float(own.number), lambda own, v: setattr(own, "number", np.float64(v))),
    "a_class_attribute_of_a_module": (lambda own: own.beta, lambda own, v: setattr(type(own), "beta", v)),
    "an_attribute_that_hides_the_class": (lambda own: own.beta, lambda own, v: setattr(own, "beta", v)),
    "an_attribute_of_a_module": (lambda own: own.plain, lambda own, v: setattr(own, "plain", v)),
}
CHANGES_OF_THINGS: dict[str, tuple[Callable[[Any], float], Callable[[Any, float], Any]]] = {
    "an_attribute_of_an_object": (lambda own: own.weight, lambda own, v: setattr(own, "weight", v)),
    "a_dict_of_an_object": (lambda own: own.cfg["beta"], lambda own, v: own.cfg.update(beta=v)),
    "an_object_of_an_object": (lambda own: own.helper.scale, lambda own, v: setattr(own.helper, "scale", v)),
    "a_class_attribute_of_an_object": (lambda own: own.beta, lambda own, v: setattr(type(own), "beta", v)),
}


def changing(kind: type, read: Callable[[Any], float], change: Callable[[Any, float], Any], every: int) -> Case:
    def train(own: Any) -> Iterator[float]:
        kind.beta = 1.0
        thing = kind()

        def model(self: Any, x: Tensor) -> None:
            likelihood(x, weight=read(self))

        return own.steps(
            own.svi(types.MethodType(model, thing)), lambda step: change(thing, value(step // every * every)), X
        )

    return train


for every, words in ((1, ""), (5, "_now_and_then")):
    for name, (read, change) in CHANGES.items():
        CASES[name + words] = changing(Module, read, change, every)
    for name, (read, change) in CHANGES_OF_THINGS.items():
        CASES[name + words] = changing(Thing, read, change, every)


@case
def a_partial_with_a_dict(own: Any) -> Iterator[float]:
    cfg = {"beta": 1.0}

    def model(x: Tensor, cfg: dict[str, float]) -> None:
        likelihood(x, weight=cfg["beta"])

    return own.steps(own.svi(partial(model, cfg=cfg), lambda x: own.guide()), lambda s: cfg.update(beta=value(s)), X)


@case
def a_default_argument(own: Any) -> Iterator[float]:
    cfg = {"beta": 1.0}

    def model(x: Tensor, cfg: dict[str, float] = cfg) -> None:
        likelihood(x, weight=cfg["beta"])

    return own.steps(own.svi(model), lambda step: cfg.update(beta=value(step)), X)


@case
def a_handler_made_anew(own: Any) -> Iterator[float]:
    scale = 1.0

    def model(x: Tensor) -> None:
        poutine.scale(likelihood, scale=scale)(x)

    def change(step: int) -> None:
        nonlocal scale
        scale = value(step)

    return own.steps(own.svi(model), change, X)


@case
def a_mask_in_a_closure(own: Any) -> Iterator[float]:
    mask = torch.ones(6, dtype=torch.bool)

    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)), poutine.mask(mask=mask):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def change(step: int) -> None:
        nonlocal mask
        mask = torch.arange(6) <= step % 6

    return own.steps(own.svi(model), change, X)


@case
def data_in_a_list(own: Any) -> Iterator[float]:
    batches = [X]

    def model(unused: Tensor) -> None:
        likelihood(batches[0])

    return own.steps(
        own.svi(model),
        lambda step: batches.__setitem__(0, X * (1 + step)),
    )


@case
def conditioned_data_that_change(own: Any) -> Iterator[float]:
    data = {"x": X}

    def free(unused: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0).expand([6]).to_event(1))

    return own.steps(own.svi(pyro.condition(free, data=data)), lambda step: data.update(x=X + step))


@case
def an_argument_with_attributes(own: Any) -> Iterator[float]:
    args = types.SimpleNamespace(beta=1.0, x=X)

    def model(args: Any) -> None:
        likelihood(args.x, weight=args.beta)

    return own.steps(
        own.svi(model), lambda step: (setattr(args, "beta", value(step)), setattr(args, "x", X + step)), args
    )


DRAWN: dict[str, Callable[[], Callable[[], Any]]] = {
    "an_iterator_that_the_model_advances": lambda: partial(next, iter([value(step) for step in range(100)])),
    "pythons_random_numbers": lambda: random.random,
    "a_random_of_ones_own": lambda: random.Random(0).random,
    "numpys_random_numbers": lambda: partial(np.random.default_rng(0).uniform, 0.5, 1.5),
    "a_generator_of_ones_own": lambda: partial(torch.rand, (), generator=torch.Generator().manual_seed(0)),
}


def drawing(make: Callable[[], Callable[[], Any]]) -> Case:
    def train(own: Any) -> Iterator[float]:
        draw = make()

        def model(x: Tensor) -> None:
            likelihood(x, weight=draw())

        return own.steps(own.svi(model), lambda step: None, X)

    return train


CASES |= {name: drawing(make) for name, make in DRAWN.items()}


@case
def seeding_inside_the_model(own: Any) -> Iterator[float]:
    def model(x: Tensor) -> None:
        likelihood(x)
        torch.manual_seed(3)

    return own.steps(own.svi(model), lambda step: None, X)


@case
def a_list_that_the_model_appends_to(own: Any) -> Iterator[float]:
    seen: list[int] = []

    def model(x: Tensor) -> None:
        seen.append(1)
        likelihood(x, weight=len(seen) / 10)

    return own.steps(own.svi(model), lambda step: None, X)


@case
def a_function_replaced_midway(own: Any) -> Iterator[float]:
    thing = types.SimpleNamespace(shift=lambda: 0.0)

    def model(x: Tensor) -> None:
        likelihood(x, shift=thing.shift())

    return own.steps(own.svi(model), lambda step: setattr(thing, "shift", lambda: float(step > 5)), X)


@case
def nothing_that_changes(own: Any) -> Iterator[float]:
    return own.steps(own.svi(likelihood), lambda step: None, X)


@case
def a_weight_that_is_an_argument(own: Any) -> Iterator[float]:
    svi = own.svi(likelihood)
    return iter([svi.step(X, value(step)) for step in range(STEPS)])


@pytest.mark.parametrize("program", CASES.values(), ids=CASES)
def test_the_numbers_are_those_of_pyro(program, as_pyro):
    def fresh_program(own: Any) -> Iterator[float]:
        _set("beta", 1.0), _set("batch", X), _set("flag", True)
        settings.clear(), schedule.clear()
        return program(own)

    as_pyro(fresh_program)
