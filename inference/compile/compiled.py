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
from pyrovae.inference.compile.guards import Guards, Recorder
from pyrovae.inference.compile.lower import lower
from pyrovae.inference.compile.precision import precise
from pyrovae.inference.compile.reasons import CaptureError, EagerWarning, explain
from pyrovae.inference.compile.verify import verified
from pyrovae.inference.compile.watch import Hashed, Watch
from pyrovae.inference.pair.contract import ProgramLike, local_params, modules

__all__ = ["Compiled"]


_MANY = 8
"""When the captures exceed this many times `max_graphs`, an argument must differ at every call."""


_PATIENCE = 3
"""Calls in a row before each of which something changed, until a warning names it."""

State = tuple[Hashed, Hashed]
"""What the programs' modules hold, and what else their code reads."""


class Compiled:
    """A function of programs, captured once per signature and replayed.

    The signature consists of the shapes, strides, dtypes and devices of the tensor arguments, the values of all other
    arguments, the modes of torch (gradients, autocast, threads), and what `Watch` and `Guards`
    see of the programs. A Python float becomes a 0-dim tensor, an input of the graph, so a schedule does not recompile;
    it is part of the signature only where the function needs its value in Python. Results carry no autograd graph.

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
        verify: at calls 1, 2, 4, 8, ... of a graph, run the function itself too and compare, on a CPU. Where they
            differ, its result is taken, and it runs eagerly from then on.
        eager_first: run the first call of each signature as it is. What the program changes in Python is then known
            before it is captured, so no side effect happens twice.

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
        verify: bool = True,
        eager_first: bool = False,
    ) -> None:
        self.fn = fn
        self.programs = programs
        self.watch = Watch([*modules(*programs), *watch])
        self._guards: dict[Hashed, Guards] = {}
        self._watched = watch
        self.verify, self.eager_first = verify, eager_first
        self.precision = precision
        self.max_graphs = max_graphs
        self.reported = set() if reported is None else reported
        self.cuda_graph = cuda_graph
        self.options = options or {}
        self.captures = 0
        self._bake_floats = False
        self._recorded: dict[Hashed, State] = {}
        self._unsteady: dict[Hashed, int] = {}
        self._refused: set[Hashed] = set()
        self._graphs: OrderedDict[tuple[Hashed, State], _Graph] = OrderedDict()

    def __len__(self) -> int:
        return len(self._graphs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, spec = pytree.tree_flatten((args, kwargs))
        try:
            tensors, signature, state = self._key(leaves, spec)
        except TypeError as error:  # an argument without a hash, so without a signature
            return self._eager(args, kwargs, CaptureError(f"an argument is not hashable: {error}"))
        if signature in self._refused:
            return self._run(args, kwargs)
        if graph := self._graphs.get((signature, state)):
            self._graphs.move_to_end((signature, state))
            graph.find_state()
            return self._replay(graph, tensors, args, kwargs)
        if signature not in self._recorded and self.eager_first:
            return self._record(signature, leaves, args, kwargs)
        if self._recorded.setdefault(signature, state) != state:
            return self._wait(signature, state, args, kwargs)
        return self._first(signature, tensors, leaves, spec, args, kwargs)

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
                results.append(self._replay(graph, [item, *rest], (item, *args), {}))
                continue
            results.append(self(item, *args))
            if item is not None:
                (_, *rest), signature, state = self._key(*pytree.tree_flatten(((item, *args), {})))
                graph, shape = self._graphs.get((signature, state)), item.shape
        return results

    def _key(self, leaves: list[Any], spec: pytree.TreeSpec) -> tuple[list[Tensor], Hashed, State]:
        """The tensors among `leaves`, floats as tensors; a key for everything else; and the state of the programs."""
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
        signature = Hashed((tuple(parts), spec, _modes()))
        return tensors, signature, self._state(signature)

    def guards(self, signature: Hashed) -> Guards:
        """What the function read when it was called with that signature.

        Args:
            signature: the key of the arguments.
        """
        return self._guards.setdefault(signature, Guards())

    def _state(self, signature: Hashed) -> State:
        return self.watch(), self.guards(signature)()

    def _record(self, signature: Hashed, leaves: list[Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """The first call of a signature runs as it is, and is recorded: what it read is guarded from then on."""
        with Recorder() as recorder:
            result = self._run(args, kwargs)
        guards = self._guard(signature, recorder, leaves)
        self._recorded[signature] = self._state(signature)
        if guards.forbidden:
            self._refuse(signature, CaptureError(guards.forbidden))
        return pytree.tree_map_only(Tensor, Tensor.detach, result)

    def _guard(self, signature: Hashed, recorder: Recorder, leaves: list[Any]) -> Guards:
        """Guard what a recorded run read."""
        roots: list[tuple[str, Any]] = [("the program", program) for program in self.programs]
        roots += [("the objective", item) for item in self._watched]
        roots += [("an argument", leaf) for leaf in leaves if not isinstance(leaf, Tensor)]
        guards = self.guards(signature)
        guards.add(recorder, roots)
        self.watch.include(guards.modules)
        return guards

    def _wait(self, signature: Hashed, state: State, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run as it is while something changes from call to call; name it when it goes on."""
        self._unsteady[signature] = self._unsteady.get(signature, 0) + 1
        if self._unsteady[signature] == _PATIENCE:
            names = self._changed(signature, self._recorded[signature], state)
            self._warn(CaptureError(f"{names} changes from call to call. Pass it as an argument of the step"))
        self._recorded[signature] = state
        return self._run(args, kwargs)

    def _changed(self, signature: Hashed, before: State, after: State) -> str:
        labels = self.guards(signature).labels(before[1], after[1]) or self.watch.labels(before[0], after[0])
        return labels[0] if labels else "the state of the program"

    def _first(
        self,
        signature: Hashed,
        tensors: list[Tensor],
        leaves: list[Any],
        spec: pytree.TreeSpec,
        args: tuple,
        kwargs: dict[str, Any],
    ) -> Any:
        """Capture and compile, or find out that this is impossible."""
        self.captures += 1
        try:
            if self.captures > _MANY * self.max_graphs:
                raise CaptureError(f"{self.captures} captures so far: the arguments or their sizes differ too often")
            graph = self._build(signature, tensors, leaves, spec)
        except Exception as error:
            if any(isinstance(leaf, float) for leaf in leaves) and not self._bake_floats:
                self._bake_floats = True
                return self(*args, **kwargs)
            result = self._run(args, kwargs)  # an error of the user's own code is raised here as itself
            self._refuse(signature, error)
            return result
        state = self._recorded[signature] = self._state(signature)
        self._keep((signature, state), graph)
        return self._replay(graph, tensors, args, kwargs)

    def _replay(self, graph: "_Graph", tensors: list[Tensor], args: tuple, kwargs: dict[str, Any]) -> Any:
        """Replay; at calls 1, 2, 4, 8, ... of a graph, compare with the function itself."""
        graph.calls += 1
        if not self.verify or graph.calls & (graph.calls - 1) or any(t.is_cuda for t in graph.state):
            return graph(tensors)
        result, difference = verified(graph, tensors, lambda: self._run(args, kwargs), self.precision)
        if difference:
            self._graphs.clear()
            _, signature, _ = self._key(*pytree.tree_flatten((args, kwargs)))
            self._refuse(signature, CaptureError(difference))
        return result

    def _build(self, signature: Hashed, tensors: list[Tensor], leaves: list[Any], spec: pytree.TreeSpec) -> "_Graph":
        def flat(*inputs: Tensor) -> Any:
            fresh = iter(inputs)
            lifted = (Tensor,) if self._bake_floats else (Tensor, float)
            filled = [next(fresh) if isinstance(leaf, lifted) else leaf for leaf in leaves]
            args, kwargs = pytree.tree_unflatten(filled, spec)
            return self._run(args, kwargs)

        guards = self.guards(signature)
        with local_params(*self.programs), guards.unchanged() as changed, Recorder() as recorder:
            captured = capture(flat, tensors, self.watch)
        if changed:
            raise CaptureError(f"the program changes {changed[0]}, which a graph would not")
        self._guard(signature, recorder, leaves)
        if guards.forbidden:
            raise CaptureError(guards.forbidden)
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
        self._warn(error)
        return result

    def _refuse(self, signature: Hashed, error: Exception) -> None:
        self._refused.add(signature)
        self._warn(error)

    def _warn(self, error: Exception) -> None:
        why = explain(error)
        if why.message not in self.reported:
            self.reported.add(why.message)
            warnings.warn_explicit(why.message, EagerWarning, why.filename, why.line)

    def _keep(self, key: tuple[Hashed, State], graph: "_Graph") -> None:
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
        self.state = captured.state  # alive, so that the identities in the key stay unique
        self.calls = 0
        self._spec, self._constants, self._written = captured.spec, captured.constants, captured.written
        self._replay = replay
        self._addresses: list[int] = []
        self._state: list[Tensor] = []
        self.find_state()

    def find_state(self) -> None:
        """Find the present memory of the state: `parameter.data = ...` moves it."""
        addresses = [tensor.data_ptr() for tensor in self.state]
        if addresses != self._addresses:
            self._addresses, self._state = addresses, [tensor.detach() for tensor in self.state]

    def __call__(self, tensors: list[Tensor]) -> Any:
        with torch.no_grad():
            results = iter(self._replay(*tensors, *self._state))
        leaves = [next(results) if constant is None else constant[0] for constant in self._constants]
        result, written = pytree.tree_unflatten(leaves, self._spec)
        for (group, name), value in zip(self._written, written, strict=True):
            group[name] = value
        return result
