"""Capture: one call on fake tensors becomes a graph that computes what the function computes."""

import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import nn
from torch.overrides import TorchFunctionMode

from pyrovae.inference.compile import capture as module
from pyrovae.inference.compile.capture import capture
from pyrovae.inference.compile.reasons import CaptureError, UnsteadyError
from pyrovae.inference.compile.state.watch import Watch


def captured(fn, *inputs, watched=()):
    return capture(fn, list(inputs), Watch(list(watched)))


def test_state_becomes_inputs_by_identity():
    weight, bias = torch.randn(3, 2), torch.randn(2)
    x = torch.randn(4, 3)
    graph = captured(lambda x: x @ weight + bias + weight.sum(), x)
    assert [any(tensor is one for one in (weight, bias)) for tensor in graph.state] == [True, True]
    with torch.no_grad():
        weight.mul_(2)
    torch.testing.assert_close(graph.module(x, *graph.state)[0], x @ weight + bias + weight.sum())


def test_nothing_real_is_changed():
    count, x = torch.zeros(()), torch.ones(2)
    captured(lambda x: x * count.add_(1), x)
    assert count == 0


def test_results_keep_their_nesting_and_their_python_values():
    graph = captured(lambda x: {"sum": x.sum(), "size": len(x), "pair": (x, "name")}, torch.ones(3))
    assert graph.constants == [None, (3,), None, ("name",)]


class Program(nn.Module):
    """Attributes that a call may change."""

    def __init__(self):
        super().__init__()
        self.calls, self.cache, self.average = 0, torch.zeros(()), torch.zeros(())


def test_an_attribute_that_caches_a_tensor_is_written_at_each_replay():
    program = Program()
    old = program.cache

    def fn(x):
        program.cache = x.sum()
        return program.cache

    graph = captured(fn, torch.ones(2), watched=[program])
    assert [name for _, name in graph.written] == ["cache"]
    assert program.cache is old, "the attribute is put back after the capture"


def count(program, x):
    program.calls += 1
    return x * program.calls


def set_up(program, x):
    program.calls = x.sum()
    return x


def average(program, x):
    program.average = 0.5 * program.average + x.sum()
    return x


@pytest.mark.parametrize(
    ("fn", "error", "words"),
    [
        (count, UnsteadyError, "changes its attribute 'calls' at every call"),
        (set_up, UnsteadyError, "sets its attribute 'calls' to a new tensor"),
        (average, CaptureError, "replaces the tensor 'average'"),
        (lambda _, x: x * random.random(), CaptureError, "Python or NumPy"),
        (lambda _, x: x * np.random.rand(), CaptureError, "Python or NumPy"),  # noqa: NPY002
    ],
)
def test_state_of_python_is_refused_and_put_back(fn, error, words, says):
    program = Program()
    before = program.calls, random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with says(error, words):
        captured(lambda x: fn(program, x), torch.ones(2), watched=[program])
    assert before == (program.calls, random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002


def test_a_shape_that_depends_on_values_is_refused():
    with pytest.raises(Exception, match=r"(?i)shape|dynamic|nonzero"):
        captured(lambda x: x[x > 0] * 2, torch.ones(3))


# ------------------------------------------------------------------------- who asks for a tensor's value


class Asks(TorchFunctionMode):
    """Notes the module that `_caller` finds for each call of `Tensor.item`."""

    def __init__(self):
        super().__init__()
        self.callers = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.item:
            self.callers.append(module._caller())
        return func(*args, **(kwargs or {}))


class Passes(TorchFunctionMode):
    """A mode of the user's own, between the call and ours."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def reads_in(name):
    """A function of a module of that name which reads a value."""
    names = {"__name__": name}
    exec("def read(x): return x.item()", names)
    return names["read"]


@pytest.mark.parametrize("name", ["pyro.infer.util", "pyro.infer.trace_elbo", "my.script"])
def test_the_caller_is_the_module_that_reads_the_value(name):
    read, x = reads_in(name), torch.ones(())
    with Asks() as asks:
        read(x)
        with Passes():
            read(x)
        with torch.device("cpu"):
            read(x)
        with Passes(), torch.device("cpu"), Passes():
            read(x)
    assert asks.callers == [name] * 4


def test_a_reading_of_torch_for_the_caller_is_torchs():
    """Pyro's name on an outer frame does not answer for code of torch that Pyro called."""
    outer = {"__name__": "pyro.infer.util", "inner": reads_in("torch.distributions.normal")}
    exec("def call(x): return inner(x)", outer)
    with Asks() as asks:
        outer["call"](torch.ones(()))
    assert asks.callers == ["torch.distributions.normal"]


@pytest.mark.parametrize("mode", [Passes, lambda: torch.device("cpu")])
def test_an_elbo_is_captured_under_another_mode(mode):
    def model(x):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        pyro.sample("z", dist.Normal(0.3, 1.0))

    def loss(x):
        with mode():
            return torch.as_tensor(Trace_ELBO().loss(model, guide, x))

    graph = captured(loss, torch.ones(()))
    torch.manual_seed(0)
    replayed = graph.module(torch.ones(()), *graph.state)[0]
    torch.manual_seed(0)
    torch.testing.assert_close(replayed, loss(torch.ones(())))
