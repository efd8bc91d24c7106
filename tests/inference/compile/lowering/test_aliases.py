"""Aliases: a graph without them computes the same, and changes the same memory."""

import torch

from pyrovae.inference.compile.capture import capture
from pyrovae.inference.compile.lowering.aliases import without_aliases
from pyrovae.inference.compile.state.watch import Watch

aten = torch.ops.aten


def graph_of(function, *inputs):
    captured = capture(function, list(inputs), Watch([]))
    without_aliases(captured.module)
    return captured.module


def targets(module):
    return [node.target for node in module.graph.nodes if node.op == "call_function"]


def test_a_tensor_that_is_seen_as_it_is_is_read_itself():
    x = torch.randn(3, 4)
    module = graph_of(lambda x: x.detach().view(3, 4).expand(3, 4).exp(), x)
    assert targets(module) == [aten.exp.default, aten.detach.default]  # what is returned is detached, and stays so
    torch.testing.assert_close(module(x)[0], x.exp())


def test_other_shapes_and_strides_stay():
    x = torch.randn(3, 4)
    module = graph_of(lambda x: x.view(4, 3) + x[:1].expand(4, 4)[:, :3], x)
    assert aten.view.default in targets(module)
    assert aten.expand.default in targets(module)
    torch.testing.assert_close(module(x)[0], x.view(4, 3) + x[:1].expand(4, 4)[:, :3])


def test_a_change_in_place_through_an_alias_reaches_the_tensor():
    x = torch.zeros(3)
    module = graph_of(lambda x: (x.detach().add_(1.0), x * 2)[1], x)
    torch.testing.assert_close(module(x)[0], torch.full((3,), 2.0))
    torch.testing.assert_close(x, torch.ones(3))


def test_numbers_of_another_type_are_not_aliases():
    x = torch.arange(2, dtype=torch.int32)
    module = graph_of(lambda x: x.view(torch.float32).view(2), x)
    torch.testing.assert_close(module(x)[0], x.view(torch.float32))
