"""Shortcuts through inductor's Python, which takes three quarters of the time of a first step; the code that it writes
stays the same.

Each stands where one torch was seen to waste time. Where another torch lacks the name, nothing is cut short.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest import mock

import sympy
import torch
from torch import fx

__all__ = ["affine_stride", "shortcuts"]


@contextmanager
def shortcuts(module: fx.GraphModule) -> Iterator[None]:
    """A context in which inductor compiles a graph on a CPU with less Python.

    Args:
        module: the graph.
    """
    with ExitStack() as stack:
        for where, name, make in (
            ("torch._inductor.codegen.cpp", "stride_at_vec_range", _strides),
            ("torch._inductor.dtype_propagation", "DtypePropagationOpsHandler.__init__", _once),
            ("torch.utils._sympy.value_ranges", "ValueRanges.tighten", _tighten),
            ("torch._inductor.codecache", "triton_key", _key_of_triton),
        ):
            _replace(stack, where, name, make)
        if not _may_attend(module):
            _replace(stack, "torch._inductor.fx_passes.joint_graph", "lazy_init", _nothing)
        yield


def _replace(stack: ExitStack, where: str, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(old)` in the place of a name, if there is one, until the stack is left."""
    try:
        owner: Any = import_module(where)
    except ModuleNotFoundError:
        return
    *outer, last = name.split(".")
    for part in outer:
        owner = getattr(owner, part, None)
    if owner is not None and (old := vars(owner).get(last)) is not None:
        stack.enter_context(mock.patch.object(owner, last, make(old)))


def affine_stride(index: Any, variable: Any) -> Any:
    """By how much an index grows with a variable; None where that is not seen at once.

    Args:
        index: a sympy expression.
        variable: a sympy symbol.
    """
    stride = 0
    for term in sympy.Add.make_args(index):
        factor, rest = term.as_coeff_Mul()
        if rest == variable and factor.is_Integer:
            stride += factor
        elif rest.has(variable):
            return None
    return sympy.Integer(stride)


def _strides(general: Callable[..., Any]) -> Callable[..., Any]:
    """Nearly all strides are those of sums of multiples of variables, for which sympy's `simplify` takes a second."""

    def stride_at_vec_range(index: Any, var: Any, vec_length: Any = None) -> Any:
        stride = affine_stride(index, var)
        return general(index, var, vec_length) if stride is None else stride

    return stride_at_vec_range


def _once(init: Callable[[Any], None]) -> Callable[[Any], None]:
    """There is one such object, but its hundreds of rules are set anew for each operation of each kernel."""
    rules: Any = getattr(import_module("torch._inductor.utils"), "op_dtype_propagation_rules", ())
    known: list[int] = []

    def once(self: Any) -> None:
        if known != [len(rules)]:
            init(self)
            known[:] = [len(rules)]

    return once


def _tighten(intersection: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Nearly all ranges that inductor intersects are equal, and sympy's minimum of two equal numbers takes long."""
    return lambda self, other: self if self == other else intersection(self, other)


def _key_of_triton(key: Callable[[], Any]) -> Callable[[], Any]:
    """A hash over all files of Triton; without a GPU, no code depends on them, and torch drops it."""
    return key if torch.cuda.is_available() else lambda: None


def _nothing(_init: Callable[..., Any]) -> Callable[..., Any]:
    """Patterns of attention and of padding on a GPU, which take a second to make, and cannot be in the graph."""
    return lambda *_args, **_kwargs: None


def _may_attend(module: fx.GraphModule) -> bool:
    """Whether the patterns may be in a graph: it has batched products, permutations or a device other than a CPU."""
    if torch.cuda.is_available():
        return True
    nodes = [node for part in module.modules() if isinstance(part, fx.GraphModule) for node in part.graph.nodes]
    return any(word in str(node.target) for node in nodes for word in ("bmm", "attention", "randperm", "matmul"))
