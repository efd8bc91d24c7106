"""A graph that is compiled beside takes over at a fixed call, however long compiling takes."""

import warnings
from functools import partial
from typing import ClassVar

import pytest
import torch

from pyrovae.inference.compile import compiled as module
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.compile.reasons import EagerWarning

AFTER = 30


class Spy:
    """Stands for another process, which has finished when it is asked."""

    made: ClassVar[list["Spy"]] = []

    def __init__(self, captured, tensors, options):
        self.captured, self.asked = captured, 0
        self.made.append(self)

    def result(self):
        self.asked += 1
        return self.captured.module


@pytest.fixture(autouse=True)
def pending(monkeypatch):
    monkeypatch.setattr(module, "Pending", Spy)
    monkeypatch.setattr(Spy, "made", [])
    return Spy.made


@pytest.fixture
def eager_calls():
    """The calls of the program itself."""
    return []


@pytest.fixture
def function(eager_calls):
    weight = torch.ones(3, requires_grad=True)

    def run(x, scale=1):
        return (x * weight * scale).sum()

    def counted(x, scale=1):
        eager_calls.append(len(x))
        return run(x, scale)

    def build():
        return Compiled(run, after=AFTER, verify=False, eager=counted)

    return build


def test_the_graph_takes_over_after_so_many_calls(function, eager_calls, pending):
    compiled, x = function(), torch.rand(2, 3)
    for call in range(1, 2 * AFTER):
        torch.testing.assert_close(compiled(x), x.sum())
        assert len(compiled) == (call > AFTER)
        assert len(pending) == (call > module._START)
    assert pending[0].asked == 1
    assert len(eager_calls) == AFTER


def test_rare_signatures_are_never_captured(function, pending):
    compiled = function()
    for _ in range(module._START):
        for rows in range(1, 21):
            compiled(torch.rand(rows, 3))
    assert compiled.captures == 0
    assert not pending


def test_an_argument_that_changes_at_every_call_is_never_captured(function, pending):
    compiled, x = function(), torch.rand(2, 3)
    with pytest.warns(EagerWarning, match="differ at every call") as seen:
        results = [compiled(x, scale=scale) for scale in range(100)]
    torch.testing.assert_close(torch.stack(results), torch.arange(100.0) * x.sum())
    assert compiled.captures == 0
    assert len(seen) == 1


def test_sizes_that_are_rare_start_no_process_and_are_compiled_at_last(function, pending):
    compiled = function()
    for call in range(AFTER + 1):
        compiled(torch.rand(8, 3))
        if call % 5 == 0:
            compiled(torch.rand(2, 3))
    assert len(pending) == 1
    for call in range(AFTER):
        assert len(compiled) == 1 + (call > AFTER - 7)
        compiled(torch.rand(2, 3))
    assert len(pending) == 1


def test_half_of_the_threads_while_another_process_may_compile(eager_calls):
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        compiled = Compiled(
            lambda x: x * 2, after=AFTER, verify=False, eager=lambda x: eager_calls.append(torch.get_num_threads())
        )
        for _ in range(AFTER + 3):
            compiled(torch.ones(2))
            assert torch.get_num_threads() == 4
        assert eager_calls == [4] * module._START + [2] * (AFTER - module._START)
        eager_calls.clear()
        refused = Compiled(lambda x: x * 2 if x.sum() > 0 else x, after=AFTER, eager=compiled.eager)
        calls = partial(list, (refused(torch.ones(2)) for _ in range(AFTER)))
        with pytest.warns(EagerWarning):
            calls()
        assert eager_calls[:-1] == [4] * module._START + [2] + [4] * (AFTER - module._START - 2)
    finally:
        torch.set_num_threads(threads)


def test_a_resumed_training_goes_on_counting(function, pending):
    x, first = torch.rand(2, 3), function()
    for _ in range(20):
        first(x)
    second = function()
    second.taken.resume(first.taken.counts())
    for call in range(21, 2 * AFTER):
        second(x)
        assert len(second) == (call > AFTER)
    third = function()
    third.taken.resume(second.taken.counts())
    third(x)
    assert len(third) == 1


def test_counts_belong_to_sizes(function):
    compiled = function()
    for rows in (2, 2, 5):
        compiled(torch.rand(rows, 3))
    assert sorted(compiled.taken.counts().values()) == [0, 1]


def test_what_changes_meanwhile_starts_anew(pending):
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = 1.0

        def forward(self, x):
            return (x * self.factor).sum()

    program, x = Scaled(), torch.rand(2, 3)
    compiled = Compiled(program, program, after=AFTER, verify=False)
    for _ in range(module._START + 3):
        compiled(x)
    program.factor = 2.0
    for _ in range(AFTER):
        torch.testing.assert_close(compiled(x), 2 * x.sum())
        assert not compiled
    for _ in range(3):
        torch.testing.assert_close(compiled(x), 2 * x.sum())
    assert len(compiled) == 1
    assert [spy.asked for spy in pending] == [0, 1]


def test_what_cannot_be_captured_runs_eagerly_with_one_warning(pending):
    compiled, x = Compiled(lambda x: x * 2 if x.sum() > 0 else x, after=AFTER), torch.rand(2)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(2 * AFTER):
            torch.testing.assert_close(compiled(x), 2 * x)
    assert [w.category for w in seen] == [EagerWarning]
    assert compiled.captures == 1


def test_a_graph_that_fails_to_compile_runs_eagerly_with_one_warning(function, monkeypatch):
    def fail(self):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(Spy, "result", fail)
    compiled, x = function(), torch.rand(2, 3)
    for _ in range(AFTER):
        compiled(x)
    with pytest.warns(EagerWarning, match="no such instruction"):
        torch.testing.assert_close(compiled(x), x.sum())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(compiled(x), x.sum())


def test_what_each_gives_is_what_calls_give(function):
    compiled, x = function(), torch.rand(2, 3)
    results = compiled.each([x] * (2 * AFTER))
    torch.testing.assert_close(torch.stack(results), x.sum().expand(2 * AFTER))
    assert len(compiled) == 1
