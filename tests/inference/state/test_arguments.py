"""Arguments of every kind, and arguments that change from step to step."""

import argparse
import types
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

Case = Callable[[Any], Iterator[Any]]
Point = namedtuple("Point", "x weight")


@dataclass
class Batch:
    """An object that is no container to torch."""

    x: Tensor
    weight: float


def weighted(own: Any, argument: Callable[[int], Any], read: Callable[[Any], tuple[Any, Any]]) -> Iterator[float]:
    """A model that reads data and a weight from one argument, new at each step."""

    def model(argument: Any) -> None:
        x, weight = read(argument)
        own.model(x, weight=weight)

    svi = own.svi(model)
    for step in range(12):
        yield svi.step(argument(step))


NEW: dict[str, tuple[Callable[[Tensor, int], Any], Callable[[Any], tuple[Any, Any]]]] = {
    "a_tuple": (lambda x, step: (x + step, 0.1 + step), lambda a: a),
    "a_dict": (lambda x, step: {"x": x, "weight": 1.0 + step}, lambda a: (a["x"], a["weight"])),
    "a_named_tuple": (lambda x, step: Point(x, 1.0 + step), lambda a: (a.x, a.weight)),
    "a_data_class": (lambda x, step: Batch(x + step, 1.0), lambda a: (a.x, a.weight)),
    "a_namespace": (lambda x, step: types.SimpleNamespace(x=x, weight=1.0 + step), lambda a: (a.x, a.weight)),
    "arguments_of_a_script": (lambda x, step: argparse.Namespace(x=x + step, weight=2.0), lambda a: (a.x, a.weight)),
    "an_array": (lambda x, step: np.asarray(x + step), lambda a: (torch.as_tensor(a), 1.0)),
    "a_numpy_scalar": (lambda x, step: (x, np.float64(1.0 + step)), lambda a: (a[0], float(a[1]))),
    "a_list_that_grows": (lambda x, step: [x[:3]] * (1 + step % 4), lambda a: (torch.cat(a), 1.0)),
    "an_int": (lambda x, step: (x, step + 1), lambda a: (a[0], a[1] / 10)),
    "a_flag": (lambda x, step: (x, step % 3 == 0), lambda a: (a[0], 2.0 if a[1] else 1.0)),
    "a_word": (lambda x, step: (x, "ab"[step % 2]), lambda a: (a[0], 2.0 if a[1] == "a" else 1.0)),
    "none_now_and_then": (lambda x, step: (x, None if step % 2 else 2.0), lambda a: (a[0], a[1] or 1.0)),
    "a_function": (lambda x, step: (x, lambda: 1.0 + step), lambda a: (a[0], a[1]())),
    "an_iterator": (lambda x, step: iter([x, 1.0 + step]), lambda a: (next(a), next(a))),
    "a_set": (lambda x, step: (x, {step}), lambda a: (a[0], 1.0 + max(a[1]))),
    "other_sizes": (lambda x, step: (x[: 2 + step % 4], 1.0), lambda a: a),
    "twenty_sizes": (lambda x, step: (x.repeat(4)[: 2 + step], 1.0), lambda a: a),
    "another_type": (lambda x, step: (x.double() if step % 2 else x, 1.0), lambda a: (a[0].float(), a[1])),
    "another_layout": (lambda x, step: (x.repeat(2)[::2] if step % 2 else x.clone(), 1.0), lambda a: a),
    "a_float_that_python_needs": (lambda x, step: (x, 1.0 + step), lambda a: (a[0], 2.0 if a[1] > 5 else 1.0)),
    "a_tensor_that_python_needs": (lambda x, step: (x, torch.tensor(step)), lambda a: (a[0], 1.0 + int(a[1]))),
    "a_leaf": (lambda x, step: (x.clone().requires_grad_(), 1.0), lambda a: a),
}


@pytest.mark.parametrize("name", NEW)
def test_arguments(name, as_pyro):
    make, read = NEW[name]
    as_pyro(lambda own: weighted(own, lambda step: make(own.x, step), read))


def test_an_argument_of_any_name(as_pyro):
    def program(own: Any) -> Iterator[float]:
        def model(x: Tensor, sync: float, data: Tensor) -> None:
            own.model(x + data, weight=sync)

        svi = own.svi(model)
        for step in range(12):
            yield svi.step(own.x, sync=0.1 + step, data=own.x)

    as_pyro(program)


def test_no_observations_now_and_then(as_pyro):
    def program(own: Any) -> Iterator[float]:
        def model(x: Tensor | None) -> None:
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            if x is not None:
                with pyro.plate("data", len(x)):
                    pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        svi = own.svi(model)
        for step in range(12):
            yield svi.step(None if step % 3 == 0 else own.x)

    as_pyro(program)


def test_a_number_that_changes_at_each_step_is_not_captured_each_time(as_pyro):
    def program(own: Any) -> Iterator[float]:
        svi = own.svi(lambda x, step: own.model(x, weight=1 + step % 3))
        for step in range(300):
            yield svi.step(own.x, step)

    warned, graphs = as_pyro(program)
    assert graphs == 0
    assert len(warned) == 1
    assert "Pass a number that changes as a float or a tensor" in warned[0]


def test_more_sizes_in_turn_than_graphs_are_kept(as_pyro):
    def program(own: Any) -> Iterator[float]:
        svi, x = own.svi(own.model), torch.linspace(-1.0, 1.0, 40)
        for step in range(80):
            yield svi.step(x[: 1 + step % 20])

    warned, graphs = as_pyro(program)
    assert graphs == 16
    assert len(warned) == 4 or "Use batches of fewer sizes" in warned[0]
