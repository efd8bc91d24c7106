"""Guards: the state that recorded functions read is found, and what changes is named."""

import functools
import types

import numpy as np
import pytest
import torch
from torch import nn

from pyrovae.inference.compile.state.guards import Guards
from pyrovae.inference.compile.state.reads import Same
from pyrovae.inference.compile.state.recorder import Recorder

beta = 1.0
cfg = {"beta": 1.0, "inner": [1, 2]}


class Scaled(nn.Module):
    factor = 1.0

    def __init__(self):
        super().__init__()
        self.cfg, self.net = {"beta": 1.0}, nn.Linear(2, 2)

    def forward(self, x):
        return self.net(x) * self.factor * self.cfg["beta"] * beta * cfg["beta"]


class Thing:
    def __init__(self):
        self.beta, self.unread = 1.0, [1]

    def model(self, x):
        return x * self.beta


def guarded(fn, *args):
    guards = Guards()
    with Recorder() as recorder:
        fn(*args)
    guards.add(recorder, [("the program", fn)])
    return guards


def changed(guards, change):
    before = guards()
    change()
    return guards.labels(before, guards())


@pytest.fixture
def x():
    return torch.ones(1, 2)


def test_nothing_changed(x):
    guards = guarded(Scaled(), x)
    assert guards() is guards()


def test_globals_containers_and_class_attributes(x, monkeypatch):
    model = Scaled()
    guards = guarded(model, x)
    assert changed(guards, lambda: monkeypatch.setitem(globals(), "beta", 2.0)) == ["the global 'beta'"]
    assert changed(guards, lambda: monkeypatch.setitem(cfg, "beta", 2.0)) == ["the global 'cfg'"]
    assert changed(guards, lambda: cfg["inner"].append(3)) == ["the global 'cfg'['inner']"]
    assert changed(guards, lambda: model.cfg.update(beta=3.0)) == ["the program.cfg"]
    assert changed(guards, lambda: monkeypatch.setattr(Scaled, "factor", 2.0)) == ["the program.factor"]
    assert changed(guards, lambda: setattr(model, "factor", 3.0)) == ["the program.factor"]


def test_an_attribute_that_no_code_names_is_not_guarded(x):
    thing = Thing()
    guards = guarded(thing.model, x)
    assert changed(guards, lambda: thing.unread.append(2)) == []
    assert changed(guards, lambda: setattr(thing, "beta", 2.0)) == ["the program.beta"]


def test_closures_defaults_and_partials(x):
    weight, held = 1.0, {"b": 1.0}

    def closure(x, default=held):
        return x * weight * default["b"]

    def change():
        nonlocal weight
        weight = 2.0

    guards = guarded(closure, x)
    assert changed(guards, change) == ["the closure variable 'weight' of closure()"]
    assert changed(guards, lambda: held.update(b=2.0)) == ["a default argument of closure()"]
    guards = guarded(functools.partial(lambda x, c: x * c["b"], c=held), x)
    assert changed(guards, lambda: held.update(b=3.0)) == ["the program"]


def test_arrays_by_content_and_tensors_by_identity(x):
    space = types.SimpleNamespace(array=np.zeros(3), tensor=torch.zeros(2))

    def model(x):
        return x * space.tensor + float(space.array[0])

    guards = guarded(model, x)
    assert changed(guards, lambda: space.tensor.fill_(3.0)) == []
    assert len(changed(guards, lambda: space.array.__setitem__(0, 1.0))) == 1
    assert len(changed(guards, lambda: setattr(space, "tensor", torch.zeros(2)))) == 1


def test_what_changes_inside_is_put_back():
    held, numbers, array, seen = {"a": 1}, [1, 2], np.arange(3), {1}

    def model():
        return held["a"], numbers[0], array[0], seen

    guards = guarded(model)
    with guards.unchanged() as names:
        held["b"], numbers[:], array[0] = 2, [5], 7
        seen.add(4)
    assert len(names) == 4
    assert (held, numbers, array.tolist(), seen) == ({"a": 1}, [1, 2], [0, 1, 2], {1})


def test_what_a_container_holds_later_is_guarded_when_it_is_recorded_again(x):
    held = {"inner": {"b": 1.0}}

    def model(x):
        return x * held["inner"]["b"]

    guards = guarded(model, x)
    held["inner"] = {"b": 2.0}
    with Recorder() as recorder:
        model(x)
    guards.add(recorder, [("the program", model)])
    assert len(changed(guards, lambda: held["inner"].update(b=3.0))) == 1


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (iter([1.0]), "iterator"),
        ((n for n in range(3)), "iterator"),
        (torch.Generator(), "random numbers"),
        (np.random.default_rng(0), "random numbers"),
        (np.zeros(100_000), "bytes"),
        ([0] * 2000, "2,000 entries"),
    ],
)
def test_what_cannot_be_guarded(held, words):
    def model():
        return held

    assert words in guarded(model).forbidden


def test_calls_that_a_graph_cannot_repeat():
    import time

    assert "torch.manual_seed" in guarded(lambda: torch.manual_seed(0)).forbidden
    assert "time" in guarded(lambda: time.time()).forbidden
    assert guarded(lambda: torch.zeros(2)).forbidden is None


def test_functions_made_inside_are_not_kept(x):
    def model(x):
        big = x * 2

        def inner():
            return big

        return inner()

    with Recorder() as recorder:
        model(x)
    assert recorder.functions == []


def test_a_value_in_a_key_is_itself_alone():
    one = [1]
    assert Same(one) == Same(one)
    assert Same(one) != Same([1])
    assert hash(Same(one)) == hash(Same(one))
