"""Products by oneDNN are those of torch, for every layout of the factors."""

import pytest
import torch

from pyrovae.inference.compile.capture import capture
from pyrovae.inference.compile.lowering.products import use_onednn
from pyrovae.inference.compile.state.watch import Watch

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")

LAYOUTS = {
    "rows": lambda m, n: torch.randn(m, n),
    "columns": lambda m, n: torch.randn(n, m).t(),
    "slice": lambda m, n: torch.randn(m, n + 9)[:, 4:-5],
}


@pytest.mark.parametrize("first", LAYOUTS)
@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("shape", [(40, 12, 80), (90, 12, 3), (1, 1, 1)])
def test_products_of_onednn_are_those_of_torch(first, second, shape):
    a, b = LAYOUTS[first](*shape[:2]), LAYOUTS[second](*shape[1:])
    product = torch.ops.pyrovae.onednn_mm.default(a, b)
    torch.testing.assert_close(product, a @ b, rtol=1e-4, atol=1e-4)
    assert product.is_contiguous()


@pytest.mark.parametrize(("size", "by_onednn"), [(4, False), (512, True)])
def test_onednn_computes_all_but_the_smallest_products(size, by_onednn):
    inputs = [torch.randn(size, 512), torch.randn(512, 256)]
    captured = capture(lambda a, b: a @ b, inputs, Watch([]))
    use_onednn(captured.module)
    targets = [node.target for node in captured.module.graph.nodes if node.op == "call_function"]
    assert (torch.ops.pyrovae.onednn_mm.default in targets) == by_onednn
    torch.testing.assert_close(captured.module(*inputs)[0], inputs[0] @ inputs[1], rtol=1e-4, atol=1e-3)
