"""Matrix products of a captured graph on a CPU: float32 products are computed by oneDNN.

torch gives float32 products to MKL, whose kernels are slower on the processors of other makers. On one core of an AMD
EPYC with AVX512 it reaches 105 GFLOP/s, and oneDNN 230 at the same shapes.
"""

from typing import Any

import torch
from torch import Tensor, fx

__all__ = ["use_onednn"]

SMALLEST = 2**20
"""Multiplications from which oneDNN computes a product; a smaller one ends before oneDNN's start has paid off."""

LONG, SMALLEST_LONG = 256, 2**22
"""Up to 256 terms both libraries add in the same order, and results are equal to the last bit. Longer sums are rounded
in another order, so they stay with MKL where oneDNN would save little."""

NARROW = 64
"""Columns of a result below which oneDNN is faster on the transposed product, whose rows are then long."""


def use_onednn(module: fx.GraphModule) -> None:
    """Let oneDNN compute the float32 products of a graph on a CPU, except for the smallest.

    Args:
        module: the graph; it is changed in place.
    """
    if not torch.backends.mkldnn.is_available():
        return
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.mm.default):
        a, b = (factor.meta["val"] for factor in node.args)
        on_cpu = a.device.type == "cpu" and a.dtype == torch.float32
        smallest = SMALLEST if a.shape[1] <= LONG else SMALLEST_LONG
        if on_cpu and a.numel() * b.shape[1] >= smallest:
            node.target = torch.ops.pyrovae.onednn_mm.default
            _lay_out(node, a)
    module.recompile()


def _lay_out(node: fx.Node, a: Tensor) -> None:
    """Have the kernel that computes a transposed first factor write it in rows; oneDNN would copy it on one thread."""
    source = node.args[0]
    if a.is_contiguous() or not isinstance(source, fx.Node) or source.op == "placeholder":
        return
    with node.graph.inserting_before(node):
        clone = node.graph.call_function(
            torch.ops.aten.clone.default, (source,), {"memory_format": torch.contiguous_format}
        )
    clone.meta["val"] = a.contiguous()
    node.replace_input_with(source, clone)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The product `a b`, contiguous."""
    if b.shape[1] < NARROW and len(a) > b.shape[1]:
        return _linear(b.t(), a).t().contiguous()
    return _linear(a, b.t())


def _linear(a: Tensor, b: Tensor) -> Tensor:
    """The product `a b'`."""
    return torch.ops.mkldnn._linear_pointwise.default(_whole(a), _whole(b), None, "none", [], "")


def _whole(a: Tensor) -> Tensor:
    """The matrix itself where it or its transpose is contiguous, else a copy: oneDNN is very slow on a slice."""
    return a if a.is_contiguous() or a.t().is_contiguous() else a.contiguous()


def _shape(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(len(a), b.shape[1])


# Defined without torch.library.custom_op, whose checks take longer than a small product.
_LIBRARY: Any = torch.library.Library("pyrovae", "FRAGMENT")
_LIBRARY.define("onednn_mm(Tensor a, Tensor b) -> Tensor")
_LIBRARY.impl("onednn_mm", _product, "CPU")
torch.library.register_fake("pyrovae::onednn_mm", _shape, lib=_LIBRARY)
