"""Lowering: torch's inductor compiles a captured graph."""

import copyreg
import functools
import gc
import logging
import pkgutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor, fx

from pyrovae.imports import private
from pyrovae.inference.compile.capture import Captured
from pyrovae.inference.compile.lowering.aliases import without_aliases
from pyrovae.inference.compile.lowering.cache import checked_libraries, repaired, usable_cache
from pyrovae.inference.compile.lowering.products import lower_to_onednn, use_onednn
from pyrovae.inference.compile.rolling.roll import with_loops

__all__ = ["compile_graph", "example_inputs", "lower", "prepare"]

TracingContext, tracing = private("torch._guards", "TracingContext"), private("torch._guards", "tracing")
FakeTensorMode = private("torch._subclasses.fake_tensor", "FakeTensorMode")
ShapeEnv = private("torch.fx.experimental.symbolic_shapes", "ShapeEnv")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's deprecation warnings about itself, its remark on a CUDA toolkit without a GPU, and tracebacks of
    broken files in its cache, which it compiles anew."""
    loggers = [logging.getLogger(name) for name in ("torch.utils.cpp_extension", "torch._inductor.codecache")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@functools.cache
def _keep_freed_memory() -> None:
    """Make glibc keep the memory that a step frees for the next step.

    glibc returns blocks above a threshold to the kernel, and page faults then take up to half of each step's time.
    Freeing a large block once raises the threshold, to at most 32 MiB.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@contextmanager
def _lasting() -> Iterator[None]:
    """Look for garbage rarely: what a compiler makes lasts until it has finished."""
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def lower(captured: Captured, tensors: list[Tensor], options: dict[str, Any]) -> Callable[..., Any]:
    """Compile a captured graph with inductor; torch's settings are restored afterwards.

    Args:
        captured: the graph, and the state that it takes after its arguments.
        tensors: arguments of one call, as an example of their shapes, strides, dtypes and devices.
        options: settings of `torch._inductor.config` that hold while compiling.

    Returns:
        A function of the arguments and the state, which returns the tensors of the result.
    """
    return compile_graph(prepare(captured.module), example_inputs(captured, tensors), options)


def example_inputs(captured: Captured, tensors: list[Tensor]) -> list[Tensor]:
    """The inputs of a captured graph.

    Args:
        captured: the graph.
        tensors: arguments of one call.
    """
    return [*tensors, *(tensor.detach() for tensor in captured.state)]


def prepare(module: fx.GraphModule) -> fx.GraphModule:
    """Take out operations that do nothing, and choose who computes the products of a graph, in place.

    Args:
        module: a captured graph, whose nodes know the tensors that they give.
    """
    without_aliases(module)
    use_onednn(module)
    return module


def compile_graph(module: fx.GraphModule, inputs: list[Tensor], options: dict[str, Any]) -> Callable[..., Any]:
    """Compile a prepared graph with inductor; torch's settings are restored afterwards.

    Args:
        module: the graph.
        inputs: an example of its inputs.
        options: settings of `torch._inductor.config` that hold while compiling.
    """
    usable_cache()
    return repaired(partial(_compiled, module, inputs, options))


def _compiled(module: fx.GraphModule, inputs: list[Tensor], options: dict[str, Any]) -> Callable[..., Any]:
    """`compile_graph`, with the cache as it is."""
    with _quiet():
        from torch._inductor import config
        from torch._inductor.compile_fx import compile_fx

        from pyrovae.inference.compile.lowering.cpp import SETTINGS, together
        from pyrovae.inference.compile.lowering.shortcuts import shortcuts

    compiler: Callable[..., Any] = compile_fx
    lower_to_onednn()
    _keep_freed_memory()
    # On a CPU torch's own generator is faster than inductor's, and compiled code then draws the numbers of eager code.
    numbers = {"fallback_random": config.fallback_random or all(x.device.type == "cpu" for x in inputs)}
    # Inductor reads its cache on the disk only under a tracing context with a shape environment.
    fakes = FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True)
    # Given real tensors, torch would compile for all sizes of them, which takes longer, under names that depend on
    # what the process did before, so that another process would not find the graph in the cache.
    fake_inputs: list[Tensor] = [fakes.from_tensor(x, static_shapes=True) for x in inputs]
    settings = SETTINGS | numbers | options
    named = mock.patch.dict(copyreg.dispatch_table, {torch.memory_format: _by_name})
    contexts = (torch.no_grad(), config.patch(settings), _quiet(), tracing(TracingContext(fakes)), _lasting(), named)
    with ExitStack() as stack, together(), checked_libraries(), shortcuts(module):
        for context in contexts:
            stack.enter_context(context)
        return with_loops(module, compiler, fake_inputs) or compiler(module, fake_inputs)


def _by_name(format: torch.memory_format) -> tuple[Any, ...]:
    """How to pickle a memory format: pickle would name any module that has it, and keys of the cache are pickles."""
    return pkgutil.resolve_name, (str(format).replace(".", ":"),)
