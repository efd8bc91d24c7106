"""Programs whose Python state changes between steps: the drop-in gives Pyro's numbers, or says that it cannot compile.

Each case trains for twelve steps twice, with `pyro.infer.SVI` and with ours, from the same weights and random numbers.
"""

import random
import types
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from pyrovae.inference import SVI

STEPS = 12
X = torch.linspace(-1.0, 2.0, 6)

beta = 1.0
settings: dict[str, Any] = {}
schedule: list[float] = []
batch = X
flag = True


class Own(NamedTuple):
    """One way to train: what makes the SVI, and whether it is ours."""

    make: Callable[..., Any]

    def svi(self, model: Callable[..., Any], guide: Callable[..., Any] | None = None, **options: Any) -> Any:
        return self.make(model, guide or mean_field, **options)


def pyros(model: Any, guide: Any, optim: Any = None, loss: Any = None) -> Any:
    return pyro.infer.SVI(model, guide, optim or pyro.optim.Adam({"lr": 0.05}), loss or Trace_ELBO())


def ours(model: Any, guide: Any, optim: Any = None, loss: Any = None) -> Any:
    return SVI(model, guide, optim or pyro.optim.Adam({"lr": 0.05}), loss or Trace_ELBO())


def mean_field(*args: Any, **kwargs: Any) -> None:
    loc = pyro.param("loc", torch.tensor(0.3))
    scale = pyro.param("scale", torch.tensor(0.8), constraint=dist.constraints.positive)
    pyro.sample("z", dist.Normal(loc, scale))


def likelihood(x: Tensor, weight: Any = 1.0, shift: Any = 0.0) -> None:
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)), poutine.scale(scale=weight):
        pyro.sample("x", dist.Normal(z + shift, 1.0), obs=x)


Case = Callable[[Own], Iterator[float]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def steps(svi: Any, change: Callable[[int], Any], *args: Any) -> Iterator[float]:
    """The losses of twelve steps, with a change before each."""
    for step in range(STEPS):
        change(step)
        yield svi.step(*args)


# Globals and closures ------------------------------------------------------------------------------------------------


def _set(name: str, value: Any) -> None:
    globals()[name] = value


def a_global_float(values: Callable[[int], float]) -> Case:
    def model(x: Tensor) -> None:
        likelihood(x, weight=beta)

    return lambda own: steps(own.svi(model), lambda step: _set("beta", values(step)), X)


CASES["a_global_float"] = a_global_float(lambda step: 0.1 + step / 10)
CASES["a_global_float_that_changes_once"] = a_global_float(lambda step: 0.5 if step < 6 else 2.0)


@case
def a_global_flag(own: Own) -> Iterator[float]:
    def model(x: Tensor) -> None:
        likelihood(x, shift=1.0 if flag else -1.0)

    return steps(own.svi(model), lambda step: _set("flag", step % 3 == 0), X)


@case
def a_global_dict(own: Own) -> Iterator[float]:
    def model(x: Tensor) -> None:
        likelihood(x, weight=settings["beta"])

    return steps(own.svi(model), lambda step: settings.update(beta=0.1 + step / 10), X)


@case
def a_global_list(own: Own) -> Iterator[float]:
    def model(x: Tensor) -> None:
        likelihood(x, weight=schedule[0])

    schedule[:] = [0.1]
    return steps(own.svi(model), lambda step: schedule.__setitem__(0, 0.1 + step / 10), X)


@case
def data_in_a_global(own: Own) -> Iterator[float]:
    def model() -> None:
        likelihood(batch)

    return steps(own.svi(model), lambda step: _set("batch", X + step))


@case
def a_closure_float(own: Own) -> Iterator[float]:
    weight = 1.0

    def model(x: Tensor) -> None:
        likelihood(x, weight=weight)

    def change(step: int) -> None:
        nonlocal weight
        weight = 0.1 + step / 10

    return steps(own.svi(model), change, X)


@case
def a_closure_counter_that_the_model_advances(own: Own) -> Iterator[float]:
    count = 0

    def model(x: Tensor) -> None:
        nonlocal count
        count += 1
        likelihood(x, weight=count / 10)

    return steps(own.svi(model), lambda step: None, X)


@case
def a_global_counter_that_the_model_advances(own: Own) -> Iterator[float]:
    settings["count"] = 0

    def model(x: Tensor) -> None:
        settings["count"] += 1
        likelihood(x, weight=settings["count"] / 10)

    return steps(own.svi(model), lambda step: None, X)


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
    def train(own: Own) -> Iterator[float]:
        kind.beta = 1.0
        thing = kind()

        def model(self: Any, x: Tensor) -> None:
            likelihood(x, weight=read(self))

        return steps(
            own.svi(types.MethodType(model, thing)), lambda step: change(thing, value(step // every * every)), X
        )

    return train


for every, words in ((1, ""), (5, "_now_and_then")):
    for name, (read, change) in CHANGES.items():
        CASES[name + words] = changing(Module, read, change, every)
    for name, (read, change) in CHANGES_OF_THINGS.items():
        CASES[name + words] = changing(Thing, read, change, every)


@case
def a_partial_with_a_dict(own: Own) -> Iterator[float]:
    cfg = {"beta": 1.0}

    def model(x: Tensor, cfg: dict[str, float]) -> None:
        likelihood(x, weight=cfg["beta"])

    return steps(own.svi(partial(model, cfg=cfg), lambda x: mean_field()), lambda s: cfg.update(beta=value(s)), X)


@case
def a_default_argument(own: Own) -> Iterator[float]:
    cfg = {"beta": 1.0}

    def model(x: Tensor, cfg: dict[str, float] = cfg) -> None:
        likelihood(x, weight=cfg["beta"])

    return steps(own.svi(model), lambda step: cfg.update(beta=value(step)), X)


@case
def a_handler_made_anew(own: Own) -> Iterator[float]:
    scale = 1.0

    def model(x: Tensor) -> None:
        poutine.scale(likelihood, scale=scale)(x)

    def change(step: int) -> None:
        nonlocal scale
        scale = value(step)

    return steps(own.svi(model), change, X)


@case
def a_mask_in_a_closure(own: Own) -> Iterator[float]:
    mask = torch.ones(6, dtype=torch.bool)

    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)), poutine.mask(mask=mask):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def change(step: int) -> None:
        nonlocal mask
        mask = torch.arange(6) <= step % 6

    return steps(own.svi(model), change, X)


@case
def data_in_a_list(own: Own) -> Iterator[float]:
    batches = [X]

    def model() -> None:
        likelihood(batches[0])

    return steps(
        own.svi(model),
        lambda step: batches.__setitem__(0, X * (1 + step)),
    )


@case
def conditioned_data_that_change(own: Own) -> Iterator[float]:
    data = {"x": X}

    def free() -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0).expand([6]).to_event(1))

    return steps(own.svi(pyro.condition(free, data=data)), lambda step: data.update(x=X + step))


@case
def an_argument_with_attributes(own: Own) -> Iterator[float]:
    args = types.SimpleNamespace(beta=1.0, x=X)

    def model(args: Any) -> None:
        likelihood(args.x, weight=args.beta)

    return steps(own.svi(model), lambda step: (setattr(args, "beta", value(step)), setattr(args, "x", X + step)), args)


DRAWN: dict[str, Callable[[], Callable[[], Any]]] = {
    "an_iterator_that_the_model_advances": lambda: partial(next, iter([value(step) for step in range(100)])),
    "pythons_random_numbers": lambda: random.random,
    "a_random_of_ones_own": lambda: random.Random(0).random,
    "numpys_random_numbers": lambda: partial(np.random.default_rng(0).uniform, 0.5, 1.5),
    "a_generator_of_ones_own": lambda: partial(torch.rand, (), generator=torch.Generator().manual_seed(0)),
}


def drawing(make: Callable[[], Callable[[], Any]]) -> Case:
    def train(own: Own) -> Iterator[float]:
        draw = make()

        def model(x: Tensor) -> None:
            likelihood(x, weight=draw())

        return steps(own.svi(model), lambda step: None, X)

    return train


CASES |= {name: drawing(make) for name, make in DRAWN.items()}


@case
def seeding_inside_the_model(own: Own) -> Iterator[float]:
    def model(x: Tensor) -> None:
        likelihood(x)
        torch.manual_seed(3)

    return steps(own.svi(model), lambda step: None, X)


@case
def a_list_that_the_model_appends_to(own: Own) -> Iterator[float]:
    seen: list[int] = []

    def model(x: Tensor) -> None:
        seen.append(1)
        likelihood(x, weight=len(seen) / 10)

    return steps(own.svi(model), lambda step: None, X)


@case
def a_function_replaced_midway(own: Own) -> Iterator[float]:
    thing = types.SimpleNamespace(shift=lambda: 0.0)

    def model(x: Tensor) -> None:
        likelihood(x, shift=thing.shift())

    return steps(own.svi(model), lambda step: setattr(thing, "shift", lambda: float(step > 5)), X)


@case
def nothing_that_changes(own: Own) -> Iterator[float]:
    return steps(own.svi(likelihood), lambda step: None, X)


@case
def a_weight_that_is_an_argument(own: Own) -> Iterator[float]:
    svi = own.svi(likelihood)
    return iter([svi.step(X, value(step)) for step in range(STEPS)])


def losses(way: Callable[..., Any], train: Case) -> list[float]:
    pyro.clear_param_store()
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 the one that programs draw from
    _set("beta", 1.0), _set("batch", X), _set("flag", True)
    settings.clear(), schedule.clear()
    return list(train(Own(way)))


@pytest.mark.parametrize("train", CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("ignore::pyrovae.inference.compile.EagerWarning")
def test_the_numbers_are_those_of_pyro(train, captured_only):
    assert losses(ours, train) == pytest.approx(losses(pyros, train), rel=1e-5)
