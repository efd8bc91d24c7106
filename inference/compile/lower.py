"""Lowering: torch's inductor compiles a captured graph."""

import functools
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from pyrovae.inference.compile.capture import Captured
from pyrovae.inference.compile.products import use_onednn

__all__ = ["lower"]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's deprecation warnings about itself, and its remark on a CUDA toolkit without a GPU."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


@functools.cache
def _keep_freed_memory() -> None:
    """Make glibc keep the memory that a step frees for the next step.

    glibc returns blocks above a threshold to the kernel, and page faults then take up to half of each step's time.
    Freeing a large block once raises the threshold, to at most 32 MiB.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def lower(captured: Captured, tensors: list[Tensor], options: dict[str, Any]) -> Callable[..., Any]:
    """Compile a captured graph with inductor; torch's settings are restored afterwards.

    Args:
        captured: the graph, and the state that it takes after its arguments.
        tensors: arguments of one call, as an example of their shapes, strides, dtypes and devices.
        options: settings of `torch._inductor.config` that hold while compiling.

    Returns:
        A function of the arguments and the state, which returns the tensors of the result.
    """
    with _quiet():
        from torch._inductor import config
        from torch._inductor.compile_fx import compile_fx

    compiler: Callable[..., Any] = compile_fx
    _keep_freed_memory()
    inputs = [*tensors, *(tensor.detach() for tensor in captured.state)]
    # On a CPU torch's own generator is faster than inductor's, and compiled code then draws the numbers of eager code.
    numbers = {"fallback_random": config.fallback_random or all(x.device.type == "cpu" for x in inputs)}
    # Inductor reads its cache on the disk only under a tracing context with a shape environment.
    fakes = FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True)
    use_onednn(captured.module)
    with torch.no_grad(), config.patch(numbers | options), _quiet(), tracing(TracingContext(fakes)):
        return compiler(captured.module, inputs)
