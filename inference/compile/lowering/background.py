"""Compiling beside the training: another process compiles a captured graph into inductor's cache on the disk.

Inductor is Python for two thirds of its time, so a thread would take turns with the training. A process does not; it
takes the graph through a pipe, and what it leaves in the cache is loaded in about a second. If it fails, nothing is in
the cache, and the graph is compiled as if there were no other process.
"""

import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from pyrovae.imports import private
from pyrovae.inference.compile.capture import Captured
from pyrovae.inference.compile.lowering.lower import compile_graph, example_inputs, prepare

__all__ = ["Pending", "half_of_the_threads", "main"]

pytree = private("torch.utils._pytree")
OpOverload = private("torch._ops", "OpOverload")


@contextmanager
def half_of_the_threads(when: bool) -> Iterator[None]:
    """Compute with half of torch's threads, and leave the other processors to the process that compiles.

    Threads that wait for one another at every operation stand still while one of them has no processor: on two cores,
    steps on two threads beside a compiler take 28 ms, and on one thread 12 ms.

    Args:
        when: whether another process compiles; otherwise nothing changes.
    """
    threads = torch.get_num_threads()
    if when:
        torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        if when:
            torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Input:
    """A tensor's place in its memory, without its values."""

    shape: torch.Size
    stride: tuple[int, ...]
    offset: int
    bytes: int
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> "_Input":
        storage = tensor.untyped_storage().nbytes()
        return cls(tensor.shape, tensor.stride(), int(tensor.storage_offset()), storage, tensor.dtype)

    def tensor(self) -> Tensor:
        """A tensor with that place in memory that nothing has written."""
        memory = torch.empty(self.bytes, dtype=torch.uint8).untyped_storage()
        return torch.empty(0, dtype=self.dtype).set_(memory, self.offset, self.shape, self.stride)


class _Reference(NamedTuple):
    """A node of a graph, by its name, or an operation of torch, by its qualified name."""

    name: str


@dataclass(frozen=True)
class _Graph:
    """A graph that can be pickled; torch's own pickle of it traces its code, and runs operations without inputs.

    Attributes:
        nodes: operation, name, target, arguments and keyword arguments of each node.
        constants: the tensors that nodes get by name.
    """

    nodes: list[tuple[str, str, Any, Any, Any]]
    constants: dict[str, Tensor]

    @classmethod
    def of(cls, module: fx.GraphModule) -> "_Graph":
        def reference(value: fx.Node) -> Any:
            return _Reference(value.name)

        nodes, constants = [], {}
        for node in module.graph.nodes:
            target = _Reference(node.target.name()) if isinstance(node.target, OpOverload) else node.target
            args, kwargs = fx.map_arg((node.args, node.kwargs), reference)
            nodes.append((node.op, node.name, target, args, kwargs))
            if node.op == "get_attr":
                constants[node.target] = getattr(module, node.target)
        return cls(nodes, constants)

    def module(self) -> fx.GraphModule:
        """The graph, with the names that it had."""
        graph = fx.Graph()
        made: dict[str, fx.Node] = {}

        def node(value: Any) -> Any:
            return made[value.name] if isinstance(value, _Reference) else value

        for op, name, target, args, kwargs in self.nodes:
            called = _operation(target.name) if isinstance(target, _Reference) else target
            args, kwargs = pytree.tree_map(node, (args, kwargs), is_leaf=lambda value: isinstance(value, _Reference))
            made[name] = graph.create_node(op, called, args, kwargs, name)
        return fx.GraphModule(self.constants, graph)


def _operation(name: str) -> Any:
    """An operation by its qualified name: `aten::mm` or `aten::add.Tensor`."""
    space, _, rest = name.partition("::")
    packet, _, overload = rest.partition(".")
    return getattr(getattr(getattr(torch.ops, space), packet), overload or "default")


@dataclass(frozen=True)
class _Job:
    """All that another process needs to compile as this one would.

    Attributes:
        graph: the graph.
        inputs: its inputs.
        options: settings of inductor for this graph.
        config: all settings of inductor, as it saves them.
        threads, deterministic, dtype: settings of torch that inductor reads.
    """

    graph: _Graph
    inputs: list[_Input]
    options: dict[str, Any]
    config: bytes
    threads: int
    deterministic: bool
    dtype: torch.dtype


class Pending:
    """A captured graph that another process compiles.

    The process ends when its graph is compiled, when `cancel` is called, when this object is dropped, and when the
    process that started it ends, however that ends. Ctrl-C in a terminal does not reach it.

    Args:
        captured: the graph, and the state that it takes after its arguments.
        tensors: arguments of one call, on a CPU.
        options: settings of `torch._inductor.config` that hold while compiling.

    Attributes:
        captured: the graph.
    """

    def __init__(self, captured: Captured, tensors: list[Tensor], options: dict[str, Any]) -> None:
        from torch._inductor import config

        self.captured, self._options = captured, options
        self._inputs = example_inputs(captured, tensors)
        self._module = prepare(captured.module)
        job = _Job(
            graph=_Graph.of(self._module),
            inputs=[_Input.of(tensor) for tensor in self._inputs],
            options=options,
            config=config.save_config(),
            threads=torch.get_num_threads(),
            deterministic=torch.are_deterministic_algorithms_enabled(),
            dtype=torch.get_default_dtype(),
        )
        self._process = _start(pickle.dumps(job))
        self.cancel: Callable[[], Any] = weakref.finalize(self, _stop, self._process)
        """End the process."""

    @property
    def ready(self) -> bool:
        """Whether the process has ended, so `result` need not wait for it."""
        return self._process is None or self._process.poll() is not None

    def result(self) -> Callable[..., Any]:
        """Wait for the process, and load what it compiled.

        Returns:
            A function of the arguments and the state, which returns the tensors of the result.
        """
        if self._process is not None:
            self._process.wait()
        self.cancel()
        return compile_graph(self._module, self._inputs, self._options)


def _start(job: bytes) -> "subprocess.Popen[bytes] | None":
    """Start a process that compiles a job; its standard input stays open as long as this process lives.

    It imports from where this process does, and not from the present folder (-P), which may hold anybody's files.
    """
    command = [sys.executable, "-P", "-c", _CODE, str(len(job)), __name__]
    paths = os.pathsep.join(path for path in sys.path if path)
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}, start_new_session=True, **quiet
        )
    except OSError:  # Python is embedded in something else, or there is no room for another process
        return None
    if process.stdin is not None:
        with suppress(OSError):  # it has ended already: nothing will be in the cache
            process.stdin.write(job)
            process.stdin.flush()
    return process


_CODE = """
import importlib, sys
job = sys.stdin.buffer.read(int(sys.argv[1]))
importlib.import_module(sys.argv[2]).main(job)
"""
"""What the other process runs: it takes the job before it imports torch, so nobody waits for the import."""


def _stop(process: "subprocess.Popen[bytes] | None") -> None:
    if process is None:
        return
    process.kill()
    process.wait()
    if process.stdin is not None:
        with suppress(OSError):  # what was not sent has nobody to read it
            process.stdin.close()


# In the other process ---------------------------------------------------------------------------------------------


def main(pickled: bytes) -> None:
    """Compile a job; runs in the other process.

    Args:
        pickled: the job.
    """
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    from torch._inductor import config

    job = pickle.loads(pickled)
    config.load_config(job.config)
    torch.set_num_threads(job.threads)
    torch.set_default_dtype(job.dtype)
    torch.use_deterministic_algorithms(job.deterministic)
    compile_graph(job.graph.module(), [given.tensor() for given in job.inputs], job.options)


def _end_with(pipe: int) -> None:
    """End this process when the one that started it has ended, which closes the pipe."""
    while os.read(pipe, 1):
        pass
    os._exit(1)
