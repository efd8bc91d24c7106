"""Capture and replay: a function of Pyro programs becomes one compiled graph.

Pyro runs its effect handlers in Python at every call. They do the same at every call of one signature, so they
need to run only once: with fake tensors, under a tracer that writes down the tensor operations that they make.
`torch._inductor` compiles what was written down; later calls replay it.

Every real tensor that the function touches, wherever it lives (a module, the param store, an optimizer, a
closure), becomes an input of the graph by identity, so replays see its present value and may change it in place.
What cannot be written down faithfully (Python control flow on values, shapes that depend on values, Python state
that changes from call to call) is found out and runs eagerly, with one `EagerWarning`.
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


class Compiled:
    """A function of programs, captured once per signature and replayed.

    The signature is: shapes, strides, dtypes and devices of the tensor arguments; the values of all other
    arguments; modes (gradients, autocast, threads); and what `Watch` sees of the programs. A Python float
    becomes a 0-dim tensor, an input of the graph, so a schedule does not recompile; only where the function
    needs its value in Python is it part of the signature. Results carry no autograd graph.

    Args:
        fn: any function of nested tensors and Python values, calling programs, gradients and in-place updates
            included. Random numbers are fresh at each replay and follow `torch.manual_seed`.
        programs: the models and guides that `fn` runs; their parameters live in themselves while it does.
        watch: further objects (an ELBO, an objective) whose attributes `fn` reads.
        precision: `"fp32"`, or `"bf16"`: matrix products and convolutions in bfloat16, all else as it is.
        max_graphs: bound on the number of graphs kept; the least recently used goes.
        reported: messages already given as a warning, shared by those who should not repeat each other.
        cuda_graph: on a GPU, launch the kernels of a replay together; `fn` then may not change its arguments.
        options: settings of `torch._inductor.config`, in force while compiling.
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
        if (key[0], None) in self._graphs:  # refused, whatever state its programs are in
            return self._run(args, kwargs)
        if graph := self._graphs.get(key):
            self._graphs.move_to_end(key)
            graph.find_state()
            return graph(tensors)
        return self._first(key, tensors, leaves, spec, args, kwargs)

    def each(self, items: Iterable[Tensor | None], *args: Any) -> list[Any]:
        """`[self(item, *args) for item in items]`, looking at the signature once per shape of an item.

        Nothing but `fn` itself may change arguments or programs meanwhile.
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
        """The tensors among `leaves`, floats turned into tensors, and a key that says all the rest."""
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
        """The first call of a signature: capture and compile, or learn that this is not possible."""
        self.captures += 1
        try:
            if self.captures > 8 * self.max_graphs:
                raise CaptureError(
                    f"{self.captures} signatures so far: an argument or an attribute changes at every call. "
                    "Pass it as a tensor"
                )
            graph = self._build(tensors, leaves, spec)
        except UnsteadyError as error:
            if key[0] in self._tried:
                self._keep((key[0], None), None)
                return self._eager(args, kwargs, error)
            self._tried.add(key[0])  # perhaps this call sets something up, once
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
        """Run eagerly, then warn: an error that is the user's own comes out as itself, not as a warning."""
        result = self._run(args, kwargs)
        message, filename, line = explain(error)
        if message not in self.reported:
            self.reported.add(message)
            warnings.warn_explicit(message, EagerWarning, filename, line)
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
        """Look where the state lies now: `parameter.data = ...` moves it."""
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
