"""Capture and replay: a function of Pyro programs becomes one compiled graph.

Pyro runs its effect handlers in Python at every call. They do the same at every call of one signature, so they
need to run only once: on fake tensors, under a tracer that records the tensor operations. `torch._inductor` compiles
the recorded graph, and later calls replay it.

Every real tensor that the function touches, wherever it lives (a module, the param store, an optimizer, a
closure), becomes an input of the graph by identity: replays read its present value and may change it in place.
Some functions have no such graph: Python branches on values, a shape depends on values, or Python state changes from
call to call. `Compiled` detects this, runs them eagerly, and gives one `EagerWarning`.
"""

import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from pyrovae.inference.compile.capture import Captured, capture
from pyrovae.inference.compile.cuda_graph import CudaGraph
from pyrovae.inference.compile.lower import lower
from pyrovae.inference.compile.precision import precise
from pyrovae.inference.compile.reasons import CaptureError, EagerWarning, UnsteadyError, explain
from pyrovae.inference.compile.watch import Hashed, Watch
from pyrovae.inference.pair.contract import ProgramLike, local_params, modules

__all__ = ["Compiled"]


_MANY = 8
"""When the captures exceed this many times `max_graphs`, an argument must differ at every call."""


class Compiled:
    """A function of programs, captured once per signature and replayed.

    The signature consists of the shapes, strides, dtypes and devices of the tensor arguments, the values of all other
    arguments, the modes of torch (gradients, autocast, threads), and what `Watch` sees of the programs. A Python float
    becomes a 0-dim tensor, an input of the graph, so a schedule does not recompile; it is part of the signature only
    where the function needs its value in Python. Results carry no autograd graph.

    Args:
        fn: any function of nested tensors and Python values; it may run programs, compute gradients and change
            tensors in place. Random numbers are fresh at each replay and follow `torch.manual_seed`.
        programs: the models and guides that `fn` runs; meanwhile their parameters live in their modules.
        watch: further objects (an ELBO, an objective) whose attributes `fn` reads.
        precision: `"fp32"`, or `"bf16"` for matrix products and convolutions in bfloat16.
        max_graphs: how many graphs are kept at most; the least recently used one is dropped.
        reported: the messages that have already been given as a warning; functions that share this set do not repeat
            each other's.
        cuda_graph: on a GPU, launch the kernels of a replay together; `fn` may not change its arguments then.
        options: settings of `torch._inductor.config` that hold while compiling.

    Attributes:
        captures: how many times a graph was captured, or its capture was tried.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *programs: ProgramLike,
        watch: Sequence[object] = (),
        precision: str = "fp32",
        max_graphs: int = 16,
        reported: set[str] | None = None,
        cuda_graph: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.fn = fn
        self.programs = programs
        self.watch = Watch([*modules(*programs), *watch])
        self.precision = precision
        self.max_graphs = max_graphs
        self.reported = set() if reported is None else reported
        self.cuda_graph = cuda_graph
        self.options = options or {}
        self.captures = 0
        self._bake_floats = False
        self._tried: set[tuple] = set()
        self._graphs: OrderedDict[tuple, _Graph | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._graphs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, spec = pytree.tree_flatten((args, kwargs))
        try:
            tensors, key = self._signature(leaves, spec)
        except TypeError as error:  # an argument without a hash, so without a signature
            return self._eager(args, kwargs, CaptureError(f"an argument is not hashable: {error}"))
        if (key[0], None) in self._graphs:  # refused before, whatever the state of its programs
            return self._run(args, kwargs)
        if graph := self._graphs.get(key):
            self._graphs.move_to_end(key)
            graph.find_state()
            return graph(tensors)
        return self._first(key, tensors, leaves, spec, args, kwargs)

    def each(self, items: Iterable[Tensor | None], *args: Any) -> list[Any]:
        """`[self(item, *args) for item in items]`, where the signature is computed once per shape of an item.

        Args:
            items: the first argument of each call.
            args: the other arguments, the same at each call. Only `fn` itself may change them, or the programs,
                until all calls are done.
        """
        results: list[Any] = []
        rest: list[Tensor] = []
        graph = shape = None
        for item in items:
            if graph is not None and item is not None and item.shape == shape:
                results.append(graph([item, *rest]))
                continue
            results.append(self(item, *args))
            if item is not None:
                (_, *rest), key = self._signature(*pytree.tree_flatten(((item, *args), {})))
                graph, shape = self._graphs.get(key), item.shape
        return results

    def _signature(self, leaves: list[Any], spec: pytree.TreeSpec) -> tuple[list[Tensor], tuple]:
        """The tensors among `leaves`, floats as tensors, and a key for everything else."""
        tensors: list[Tensor] = []
        parts: list[Any] = []
        for leaf in leaves:
            if isinstance(leaf, float) and not self._bake_floats:
                leaf = torch.tensor(leaf, dtype=torch.get_default_dtype())
            if isinstance(leaf, Tensor):
                tensors.append(leaf.detach() if leaf.requires_grad else leaf)
                parts.append((leaf.shape, leaf.stride(), leaf.dtype, leaf.device, leaf.requires_grad))
            else:
                parts.append((type(leaf), leaf))
        return tensors, (Hashed((tuple(parts), spec, _modes())), self.watch())

    def _first(
        self,
        key: tuple,
        tensors: list[Tensor],
        leaves: list[Any],
        spec: pytree.TreeSpec,
        args: tuple,
        kwargs: dict[str, Any],
    ) -> Any:
        """The first call of a signature: capture and compile, or find out that this is impossible."""
        self.captures += 1
        try:
            if self.captures > _MANY * self.max_graphs:
                raise CaptureError(
                    f"{self.captures} signatures so far: an argument or an attribute changes at every call. "
                    "Pass it as a tensor"
                )
            graph = self._build(tensors, leaves, spec)
        except UnsteadyError as error:
            if key[0] in self._tried:
                self._keep((key[0], None), None)
                return self._eager(args, kwargs, error)
            self._tried.add(key[0])  # this call may only have set something up, once
            return self._run(args, kwargs)
        except Exception as error:
            if any(isinstance(leaf, float) for leaf in leaves) and not self._bake_floats:
                self._bake_floats = True
                return self(*args, **kwargs)
            self._keep((key[0], None), None)
            return self._eager(args, kwargs, error)
        self._keep((key[0], self.watch()), graph)
        return graph(tensors)

    def _build(self, tensors: list[Tensor], leaves: list[Any], spec: pytree.TreeSpec) -> "_Graph":
        def flat(*inputs: Tensor) -> Any:
            fresh = iter(inputs)
            lifted = (Tensor,) if self._bake_floats else (Tensor, float)
            filled = [next(fresh) if isinstance(leaf, lifted) else leaf for leaf in leaves]
            args, kwargs = pytree.tree_unflatten(filled, spec)
            return self._run(args, kwargs)

        with local_params(*self.programs):
            captured = capture(flat, tensors, self.watch)
        self.watch.ignore(captured.written)
        replay = lower(captured, tensors, self.options)
        if self.cuda_graph and all(tensor.is_cuda for tensor in [*tensors, *captured.state]):
            replay = CudaGraph(replay, len(tensors))
        return _Graph(captured, replay)

    def _run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        with local_params(*self.programs), precise(self.precision):
            return self.fn(*args, **kwargs)

    def _eager(self, args: tuple, kwargs: dict[str, Any], error: Exception) -> Any:
        """Run eagerly, then warn: an error of the user's own code is raised here as itself, without a warning."""
        result = self._run(args, kwargs)
        why = explain(error)
        if why.message not in self.reported:
            self.reported.add(why.message)
            warnings.warn_explicit(why.message, EagerWarning, why.filename, why.line)
        return result

    def _keep(self, key: tuple, graph: "_Graph | None") -> None:
        self._graphs[key] = graph
        while len(self._graphs) > self.max_graphs:
            self._graphs.popitem(last=False)


def _modes() -> tuple:
    """The global modes that a graph bakes in."""
    inductor = sys.modules.get("torch._inductor.config")
    return (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"),
        inductor is not None and inductor.fallback_random,
    )


class _Graph:
    """A captured function, compiled: call it with the tensors of its arguments."""

    def __init__(self, captured: Captured, replay: Callable[..., Any]) -> None:
        self._alive = captured.state  # keeps the identities in the key unique
        self._spec, self._constants, self._written = captured.spec, captured.constants, captured.written
        self._replay = replay
        self._addresses: list[int] = []
        self._state: list[Tensor] = []
        self.find_state()

    def find_state(self) -> None:
        """Find the present memory of the state: `parameter.data = ...` moves it."""
        addresses = [tensor.data_ptr() for tensor in self._alive]
        if addresses != self._addresses:
            self._addresses, self._state = addresses, [tensor.detach() for tensor in self._alive]

    def __call__(self, tensors: list[Tensor]) -> Any:
        with torch.no_grad():
            results = iter(self._replay(*tensors, *self._state))
        leaves = [next(results) if constant is None else constant[0] for constant in self._constants]
        result, written = pytree.tree_unflatten(leaves, self._spec)
        for (group, name), value in zip(self._written, written, strict=True):
            group[name] = value
        return result
