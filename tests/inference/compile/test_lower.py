"""Lowering: inductor's replay gives the numbers of the captured graph."""

import pytest
import torch

from pyrovae.inference.compile import lower as module
from pyrovae.inference.compile.capture import capture
from pyrovae.inference.compile.lower import lower
from pyrovae.inference.compile.watch import Watch


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


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
@pytest.mark.parametrize("weight", [torch.randn(7, 5), torch.randn(5, 7).t(), torch.randn(5, 9)[:, :7].t()])
def test_products_of_onednn_are_those_of_torch(weight):
    product, a = module._onednn_product(), torch.randn(3, 7)
    torch.testing.assert_close(product(a, weight), a @ weight)
    turned = torch.randn(7, 3).t()
    torch.testing.assert_close(product(turned, weight), turned @ weight)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
@pytest.mark.parametrize(("size", "by_onednn"), [(64, False), (512, True)])
def test_onednn_computes_large_products_alone(size, by_onednn):
    inputs = [torch.randn(size, 512), torch.randn(512, 256)]
    captured = capture(lambda a, b: a @ b, inputs, Watch([]))
    module._use_onednn(captured.module)
    targets = [node.target for node in captured.module.graph.nodes if node.op == "call_function"]
    assert (module._onednn_product() in targets) == by_onednn
    torch.testing.assert_close(captured.module(*inputs)[0], inputs[0] @ inputs[1], rtol=1e-4, atol=1e-3)
