"""Compiling beside: the graph in the other process is the same one, and no process is left behind."""

import os
import signal
import sys
import time

import pytest
import torch

from pyrovae.inference.compile.capture import capture
from pyrovae.inference.compile.lowering import background
from pyrovae.inference.compile.lowering.background import Pending
from pyrovae.inference.compile.state.watch import Watch


def program(x):
    return {"noise": torch.randn(3, 2), "sum": (x @ WEIGHT + torch.tensor([1.0, 2.0])).tanh().sum(dim=1, keepdim=True)}


WEIGHT = torch.randn(4, 2)


@pytest.fixture
def captured():
    return capture(program, [torch.ones(3, 4)], Watch([]))


@pytest.fixture
def sleeping(monkeypatch):
    """Another process that never ends by itself."""
    monkeypatch.setattr(background, "_CODE", "import time; time.sleep(600)")


def ended(process):
    """Whether a process ends within a minute."""
    for _ in range(600):
        if process.poll() is not None:
            return True
        time.sleep(0.1)
    return False


def test_a_graph_is_the_same_in_the_other_process(captured):
    graph = background._Graph.of(captured.module).module()
    assert graph.code == captured.module.code
    results = []
    for module in (captured.module, graph):
        torch.manual_seed(0)
        results.append(module(torch.ones(3, 4), *captured.state))
    torch.testing.assert_close(results[0], results[1])


def test_inputs_keep_their_place_in_memory():
    view = torch.arange(20.0).reshape(4, 5)[1:, ::2]
    copy = background._Input.of(view).tensor()
    assert (copy.shape, copy.stride(), copy.storage_offset()) == (view.shape, view.stride(), view.storage_offset())
    assert copy.untyped_storage().nbytes() == view.untyped_storage().nbytes()
    assert copy.dtype == view.dtype


def test_the_result_is_loaded_from_the_cache(captured, monkeypatch, tmp_path):
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    x = torch.rand(3, 4)
    pending = Pending(captured, [x], {})
    process = pending._process
    counters.clear()
    replay = pending.result()
    assert process.returncode == 0
    assert counters["inductor"]["fxgraph_cache_hit"] == 1, dict(counters)
    torch.manual_seed(0)
    noise, total = replay(x, *captured.state)
    torch.manual_seed(0)
    expected = program(x)
    assert torch.equal(noise, expected["noise"])
    torch.testing.assert_close(total, expected["sum"])


def test_a_process_that_fails_costs_time_alone(captured, monkeypatch):
    monkeypatch.setattr(background, "_CODE", "raise SystemExit(3)")
    x = torch.rand(3, 4)
    torch.testing.assert_close(Pending(captured, [x], {}).result()(x, *captured.state)[1], program(x)["sum"])


def test_a_process_that_cannot_start_costs_time_alone(captured, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    x = torch.rand(3, 4)
    pending = Pending(captured, [x], {})
    assert pending.ready
    torch.testing.assert_close(pending.result()(x, *captured.state)[1], program(x)["sum"])


@pytest.mark.parametrize("way", ["cancel", "drop"])
def test_no_process_is_left_behind(way, captured, sleeping):
    pending = Pending(captured, [torch.rand(3, 4)], {})
    process = pending._process
    assert not pending.ready
    if way == "cancel":
        pending.cancel()
    del pending
    assert process.poll() == -signal.SIGKILL


def test_the_process_ends_with_the_one_that_started_it(captured):
    """The end of that one closes the pipe."""
    pending = Pending(captured, [torch.rand(3, 4)], {})
    process = pending._process
    process.stdin.close()
    assert ended(process)


def test_ctrl_c_does_not_reach_the_process(captured, sleeping):
    pending = Pending(captured, [torch.rand(3, 4)], {})
    assert os.getpgid(pending._process.pid) != os.getpgid(0)
    pending.cancel()
