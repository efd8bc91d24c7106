"""Capture and replay of functions of programs."""

import random

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.nn import PyroModule
from torch import nn

from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.compile.reasons import EagerWarning


class Model(PyroModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 3)
        self.factor = 1.0

    def forward(self, x, noise=True):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).expand([len(x), 2]).to_event(1))
        return self.net(z if noise else x) * self.factor


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model()


def evaluate(model, x, **kwargs):
    trace = poutine.trace(model).get_trace(x, **kwargs)
    return {"log_prob": trace.log_prob_sum(), "out": trace.nodes["_RETURN"]["value"], "size": len(x)}


def test_replays_with_fresh_noise_and_follows_the_seed(model):
    fn, x = Compiled(lambda x: evaluate(model, x), model), torch.ones(4, 2)
    with torch.no_grad():
        torch.manual_seed(1)
        first, second = fn(x), fn(x)
        torch.manual_seed(1)
        again = fn(x)
    assert first["size"] == 4
    assert fn.captures == 1
    assert not torch.equal(first["out"], second["out"])
    torch.testing.assert_close(again, first)


def test_one_graph_per_signature_and_a_bounded_number(model, captured_only):
    fn = Compiled(lambda x, noise: evaluate(model, x, noise=noise), model, max_graphs=3)
    for size in (1, 2, 3, 2, 1):
        fn(torch.ones(size, 2), True)
    assert fn.captures == 3
    with pytest.warns(EagerWarning, match="3 graphs are in use already"):
        fn(torch.ones(4, 2), True)
    assert fn.captures == len(fn) == 3
    fn.calls += 1000  # the graphs have not been used for long
    fn(torch.ones(5, 2), True)
    assert (fn.captures, len(fn)) == (4, 3)


def test_a_new_state_is_captured_when_it_has_lasted(model, captured_only):
    fn = Compiled(lambda x: evaluate(model, x, noise=False)["out"], model)
    for change, calls in ((model.eval, 4), (model.train, 0), (lambda: setattr(model, "factor", 2.0), 16)):
        fn(torch.ones(1, 2))
        before = fn.captures
        change()
        for _ in range(calls):
            fn(torch.ones(1, 2))
            assert fn.captures == before
        fn(torch.ones(1, 2))
        assert fn.captures == before + bool(calls), "a state that was captured before has its graph still"


def test_state_is_an_input_and_attributes_are_watched(model, captured_only):
    fn, x = Compiled(lambda x: evaluate(model, x, noise=False)["out"], model), torch.ones(1, 2)
    fn(x)
    with torch.no_grad():
        model.net.weight.zero_()
        model.net.bias.fill_(2.0)
    assert (fn(x) == 2).all()
    assert fn.captures == 1
    model.factor = 3.0
    assert (fn(x) == 6).all()
    model.net = nn.Linear(2, 3)
    torch.testing.assert_close(fn(x), 3 * model.net(x).detach())


def test_floats_are_inputs_where_they_can_be(captured_only):
    plain = Compiled(lambda x, w: x * w)
    assert [plain(torch.ones(()), w).item() for w in (1.0, 2.0, 3.0)] == [1, 2, 3]
    assert plain.captures == 1
    branching = Compiled(lambda x, w: x * w if w > 1.5 else x)
    assert [branching(torch.ones(()), w).item() for w in (1.0, 2.0, 3.0)] == [1, 2, 3]


def test_in_place_changes_of_small_tensors_happen_once_per_call():
    count = torch.zeros((), dtype=torch.int64)

    def fn(x):
        count.add_(1)
        return x * count

    compiled = Compiled(fn)
    assert [compiled(torch.ones(2))[0].item() for _ in range(3)] == [1, 2, 3]


def test_a_program_may_cache_tensors_in_attributes(model, captured_only):
    model.last = torch.zeros(())

    def fn(x):
        model.last = x.sum()
        return model.last * 2

    compiled = Compiled(fn, model)
    assert [compiled(torch.full((2,), v)).item() for v in (1.0, 2.0)] == [4, 8]
    assert model.last == 4
    assert compiled.captures == 1


def test_an_error_of_the_user_is_the_users(model):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Compiled(lambda x: evaluate(model, x, noise=False), model)(torch.ones(4, 5))


def test_import_and_use_change_no_global_state(model, captured_only):
    before = pyro.settings.get(), torch.is_grad_enabled(), random.getstate()
    Compiled(lambda x: evaluate(model, x), model)(torch.ones(4, 2))
    assert before == (pyro.settings.get(), torch.is_grad_enabled(), random.getstate())
