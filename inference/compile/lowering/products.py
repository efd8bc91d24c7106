"""Matrix products of a captured graph on a CPU: float32 products are computed by oneDNN.

torch gives float32 products to MKL, whose kernels are slower on the processors of other makers. On one core of an AMD
EPYC with AVX512 it reaches 105 GFLOP/s, and oneDNN 230 at the same shapes.
"""

import functools
from typing import Any

import torch
from torch import Tensor, fx

__all__ = ["lower_to_onednn", "use_onednn"]

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


@functools.cache
def lower_to_onednn() -> None:
    """Have inductor call oneDNN's own operation for these products; through Python each takes 7 microseconds more."""
    from torch._inductor.lowering import register_lowering

    register_lowering(torch.ops.pyrovae.onednn_mm.default, type_promotion_kind=None)(_lowered)


def _lowered(a: Any, b: Any) -> Any:
    """`_product` of the nodes of inductor."""
    from torch._inductor.lowering import clone, permute

    rows, columns = int(a.get_size()[0]), int(b.get_size()[1])
    if columns < NARROW and rows > columns:
        return clone(permute(_linear_of(permute(b, [1, 0]), a), [1, 0]))
    return _linear_of(a, permute(b, [1, 0]))


def _linear_of(a: Any, b: Any) -> Any:
    """`_linear` of the nodes of inductor."""
    from torch._inductor.ir import FallbackKernel, TensorBox

    factors = map(_realized, (a, b))
    kernel = FallbackKernel.create(torch.ops.mkldnn._linear_pointwise.default, *factors, None, "none", [], "")
    return TensorBox.create(kernel)


def _realized(factor: Any) -> Any:
    """`_whole` of a node of inductor, computed before the product."""
    from torch._inductor.ir import ExternKernel

    factor = ExternKernel.realize_input(factor)
    rows, columns = map(int, factor.get_size())
    strides = tuple(map(int, factor.get_stride()))
    return factor if strides in ((columns, 1), (1, rows)) else ExternKernel.require_contiguous(factor)


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
