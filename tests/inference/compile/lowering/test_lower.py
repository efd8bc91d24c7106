"""Lowering: inductor's replay gives the numbers of the captured graph."""

import torch

from pyrovae.inference.compile.capture import capture
from pyrovae.inference.compile.lowering.lower import lower
from pyrovae.inference.compile.state.watch import Watch


def test_the_replay_computes_what_the_graph_computes():
    weight = torch.randn(3, 4)
    inputs = [torch.randn(5, 3)]
    captured = capture(lambda x: (x @ weight).tanh().sum(1), inputs, Watch([]))
    (result,) = lower(captured, inputs, {})(*inputs, *captured.state)
    torch.testing.assert_close(result, (inputs[0] @ weight).tanh().sum(1))


def test_settings_of_inductor_hold_while_compiling_alone(monkeypatch):
    import torch._inductor.compile_fx as inductor
    from torch._inductor import config

    seen = []
    monkeypatch.setattr(inductor, "compile_fx", lambda graph, inputs: seen.append(config.cpp_wrapper) or graph)
    inputs = [torch.ones(2)]
    captured = capture(lambda x: x + 1, inputs, Watch([]))
    lower(captured, inputs, {"cpp_wrapper": True})
    assert seen == [True]
    assert not config.cpp_wrapper
