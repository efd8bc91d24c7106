"""Rolling: T repeated stretches of a graph, as Python's loops leave them, become one loop in the graph.

A step over T time steps is captured with T copies of the loop's body, and T more of its gradients. Each stretch of
copies becomes one `scan`, whose body is compiled once. The operations and their order stay, random numbers included,
except that gradients of shared weights are summed over time by one product after the loop.
"""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, fx

from pyrovae.inference.compile.rolling.dataflow import Dataflow, is_scattered
from pyrovae.inference.compile.rolling.loops import loops
from pyrovae.inference.compile.rolling.plan import plans
from pyrovae.inference.compile.rolling.rewrite import Writer

__all__ = ["rolled", "scan_is_right", "with_loops"]

_LOG = logging.getLogger(__name__)

SCAN_FROM = (2, 14)
"""The first torch whose `scan` was tried and is right. That of torch 2.8 gives other numbers, without an error."""

Compiler = Callable[[fx.GraphModule, list[Tensor]], Callable[..., Any]]


def with_loops(module: fx.GraphModule, compiler: Compiler, inputs: list[Tensor]) -> Callable[..., Any] | None:
    """Compile a graph with loops in place of repeated stretches; None where there are none, or they do not compile.

    The loops run in C++, without Python between the operations. Only graphs on a CPU get loops, and only where torch's
    `scan` is right.

    Args:
        module: a graph of ATen operations; it is not changed.
        compiler: compiles a graph for inputs.
        inputs: examples of the inputs.
    """
    from torch._inductor import config

    if not scan_is_right() or any(tensor.device.type != "cpu" for tensor in inputs):
        return None
    try:
        looped = rolled(module)
        if looped is None:
            return None
        with config.patch(cpp_wrapper=True) if _loops_in(looped) else nullcontext():
            return compiler(looped, inputs)
    except Exception as error:  # the graph as it was captured is right, and only takes longer to compile
        _LOG.warning("A loop over time is compiled turn by turn, which takes long: %s", error)
        return None


def scan_is_right() -> bool:
    """Whether this torch is `SCAN_FROM` or newer."""
    major, minor = torch.__version__.split(".")[:2]
    return (int(major), int(minor)) >= SCAN_FROM


def rolled(module: fx.GraphModule) -> fx.GraphModule | None:
    """The same function with loops in place of repeated stretches; None where nothing has to change.

    Args:
        module: a graph of ATen operations whose nodes know their values' shapes; it is not changed.
    """
    flow = Dataflow(module.graph)
    found = loops(flow)
    if not found and not any(is_scattered(flow, node) for node in flow.nodes):
        return None
    return Writer(module, flow, plans(flow, found)).module()


def _loops_in(module: fx.GraphModule) -> bool:
    return bool(module.graph.find_nodes(op="call_function", target=torch.ops.higher_order.scan))
