"""Capture and replay: a function of Pyro programs becomes one compiled graph.

Pyro runs its effect handlers in Python at every call. They do the same at every call of one signature, so they
need to run only once: on fake tensors, under a tracer that records the tensor operations. `torch._inductor` compiles
the recorded graph, and later calls replay it.

Every real tensor that the function touches, wherever it lives (a module, the param store, an optimizer, a
closure), becomes an input of the graph by identity: replays read its present value and may change it in place.
Some functions have no such graph: Python branches on values, a shape depends on values, or Python state changes from
call to call. `Compiled` detects this, runs them eagerly, and gives one `EagerWarning`.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor

from pyrovae.imports import private
from pyrovae.inference.compile.capture import Captured, capture
from pyrovae.inference.compile.graph import Graph
from pyrovae.inference.compile.lowering.background import Pending, half_of_the_threads
from pyrovae.inference.compile.lowering.cuda_graph import CudaGraph
from pyrovae.inference.compile.lowering.lower import lower
from pyrovae.inference.compile.precision import precise
from pyrovae.inference.compile.reasons import CaptureError, EagerWarning, UnsteadyError, explain, lacking_names
from pyrovae.inference.compile.state.guards import Guards
from pyrovae.inference.compile.state.known import Known, State
from pyrovae.inference.compile.state.recorder import Recorder
from pyrovae.inference.compile.state.signature import signature
from pyrovae.inference.compile.state.store import parameters_kept
from pyrovae.inference.compile.state.taken import Taken
from pyrovae.inference.compile.state.watch import Hashed, Watch
from pyrovae.inference.compile.verify import verified
from pyrovae.inference.pair.contract import ProgramLike, local_params, modules
from pyrovae.inference.pair.parameters import UsedParameters

__all__ = ["Compiled"]

pytree = private("torch.utils._pytree")


_MANY = 8
"""This many times `max_graphs` signatures are known at most."""

_RECORDED = 4
"""So many new signatures in a row are recorded; recording takes as long as running, and a signature must come back."""

_DIFFERENT = 32
"""New signatures in a row after which a warning says that the arguments differ at every call."""

_PATIENCE = 3
"""Calls in a row before each of which something changed, until a warning names it."""

_PATIENCE_GROWS = 4
"""After each capture of one signature, so many times more equal calls are awaited before the next."""

_WHY_DIFFERENT = (
    "the arguments or their sizes differ at every call. Pass a number that changes as a float or a tensor, and batches "
    "of one size"
)

_START = 16
"""Equal calls of a signature from which its graph is compiled beside: rare signatures cost nothing."""


class Compiled:
    """A function of programs, captured once per signature and replayed.

    The signature consists of the shapes, strides, dtypes and devices of the tensor arguments, the values of all other
    arguments, the modes of torch (gradients, autocast, threads), and what `Watch` and `Guards`
    see of the programs. A Python float becomes a 0-dim tensor, an input of the graph, so a schedule does not recompile;
    it is part of the signature only where the function needs its value in Python. Results carry no autograd graph.

    Args:
        fn: any function of nested tensors and Python values; it may run programs, compute gradients and change
            tensors in place. Random numbers are fresh at each replay and follow `torch.manual_seed`.
        programs: the models and guides that `fn` runs.
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
        eager: a function that does the same, and runs wherever no graph does; None for `fn` itself.
        local: whether parameters are those of the modules while `fn` runs; otherwise as the user's setting has it.
        after: so many equal calls of a signature run without a graph, which another process compiles meanwhile; then
            the graph takes over, and waits if need be. So results do not depend on how long compiling takes. 0
            compiles at once.

    Attributes:
        calls: how many times it was called.
        captures: how many times a graph was captured, or its capture was tried.
        taken: how many calls ran without a graph.
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
        eager: Callable[..., Any] | None = None,
        local: bool = True,
        after: int = 0,
    ) -> None:
        self.after, self.taken = after, Taken(after)
        self._pending: dict[Hashed, Pending] = {}
        self.fn, self.eager = fn, eager or fn
        self.programs = programs
        self.watch = Watch([*modules(*programs), *watch])
        self._guards: dict[Hashed, Guards] = {}
        self._watched = watch
        self.verify, self.eager_first, self.local = verify, eager_first, local
        self.precision = precision
        self.max_graphs = max_graphs
        self.reported = set() if reported is None else reported
        self.cuda_graph = cuda_graph
        self.options = options or {}
        self._lacking = lacking_names()
        self.captures = self.calls = self._new = 0
        self._why_baked: Exception | None = None
        self._known: dict[Hashed, Known] = {}
        self._graphs: OrderedDict[tuple[Hashed, State], Graph] = OrderedDict()

    def __len__(self) -> int:
        return len(self._graphs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self._lacking:
            return self.eagerly(self._lacking, *args, **kwargs)
        leaves, spec = pytree.tree_flatten((args, kwargs))
        tensors, key = self._key(leaves, spec)
        known = self._known.get(key)
        if known is None:
            return self._meet(key, leaves, spec, args, kwargs)
        self._new = 0
        if self.eager_first and not known.recorded:
            return self._record(key, known, leaves, args, kwargs)
        if known.forbidden and not known.refused:
            self._refuse(key, CaptureError(known.forbidden))
        if known.refused:
            return self._run(args, kwargs)
        state = self._state(key)
        if graph := self._graphs.get((key, state)):
            self._graphs.move_to_end((key, state))
            graph.find_state()
            return self._replay(key, graph, tensors, args, kwargs)
        steady = self._is_steady(key, known, state) or (self._starts(known) and key not in self._pending)
        if not steady or not self._has_room(key):
            return self._run(args, kwargs)
        return self._first(key, tensors, leaves, spec, args, kwargs)

    def eagerly(self, reason: str, *args: Any, **kwargs: Any) -> Any:
        """Run without a graph, and give one warning that says why.

        Args:
            reason: what stands in the way.
            args, kwargs: the arguments.
        """
        result = self._run(args, kwargs)  # an error of the user's own code is raised here as itself
        self._warn(CaptureError(reason))
        return result

    def stop_compiling(self) -> None:
        """End the processes that compile graphs of this function."""
        while self._pending:
            self._pending.popitem()[1].cancel()

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
        key: Any = None
        for item in items:
            if graph is not None and item is not None and item.shape == shape:
                results.append(self._replay(key, graph, [item, *rest], (item, *args), {}))
                continue
            results.append(self(item, *args))
            if item is not None and not self._lacking:
                (_, *rest), key = self._key(*pytree.tree_flatten(((item, *args), {})))
                graph, shape = self._graphs.get((key, self._state(key))), item.shape
        return results

    def _key(self, leaves: list[Any], spec: Any) -> tuple[list[Tensor], Hashed]:
        return signature(leaves, spec, bake_floats=self._why_baked is not None)

    def guards(self, key: Hashed) -> Guards:
        """What the function read when it was called with a signature.

        Args:
            key: the signature.
        """
        return self._guards.setdefault(key, Guards())

    def _state(self, key: Hashed) -> State:
        return self.watch(), self.guards(key)()

    def _meet(self, key: Hashed, leaves: list[Any], spec: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The first call of a signature."""
        self._new += 1
        self._forget()
        tensors, _ = self._key(leaves, spec)
        self._known[key] = known = Known(self._state(key), needed=max(1, self.after))
        known.equal = self.taken.meet(tensors, known)
        if self._new == _DIFFERENT:
            self._warn(self._why_baked or CaptureError(_WHY_DIFFERENT))
        if self.eager_first and known.equal < known.needed and self._new <= _RECORDED:
            return self._record(key, known, leaves, args, kwargs)
        if known.equal < max(self.after, self.eager_first) or not self._has_room(key):
            return self._run(args, kwargs)
        return self._first(key, tensors, leaves, spec, args, kwargs)

    def _forget(self) -> None:
        """Keep a bounded number of signatures, the latest."""
        while len(self._known) >= _MANY * self.max_graphs:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._guards.pop(oldest, None)

    @property
    def compiles_beside(self) -> bool:
        """Whether another process may be compiling; this depends on the calls alone, and not on the time."""
        return self.after > 0 and any(self._starts(known) and not known.refused for known in self.taken.met)

    def _starts(self, known: Known) -> bool:
        return min(_START, self.after) <= known.equal < self.after and self.taken.leads(known)

    def _record(self, key: Hashed, known: Known, leaves: list[Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run as it is, and note what is read: it is guarded from then on."""
        with Recorder() as recorder, UsedParameters() as used:
            result = self._run(args, kwargs)
        guards = self._guard(key, recorder, used, leaves)
        known.state = self._state(key)
        known.recorded, known.forbidden = True, guards.forbidden
        return pytree.tree_map_only(Tensor, Tensor.detach, result)

    def _guard(self, key: Hashed, recorder: Recorder, used: UsedParameters, leaves: list[Any]) -> Guards:
        """Guard what a recorded run read."""
        roots: list[tuple[str, Any]] = [("the program", program) for program in self.programs]
        roots += [("the objective", item) for item in self._watched]
        roots += [("an argument", leaf) for leaf in leaves if not isinstance(leaf, Tensor)]
        guards = self.guards(key)
        guards.add(recorder, roots)
        guards.add_parameters(used.named.values())
        self.watch.include(guards.modules)
        return guards

    def _is_steady(self, key: Hashed, known: Known, state: State) -> bool:
        """Whether the state has rested for long enough; names what changes from call to call."""
        if known.state == state:
            known.equal += 1
            known.changes = 0
            return known.equal >= known.needed
        known.equal, known.changes = 0, known.changes + 1
        self._pending.pop(key, None)
        if known.changes == _PATIENCE:
            name = self._changed(key, known.state, state)
            self._warn(CaptureError(f"{name} changes from call to call. Pass it as an argument of the step"))
        known.state = state
        return False

    def _changed(self, key: Hashed, before: State, after: State) -> str:
        labels = self.guards(key).labels(before[1], after[1]) or self.watch.labels(before[0], after[0])
        return labels[0] if labels else "the state of the program"

    def _has_room(self, key: Hashed) -> bool:
        """Whether a graph may be dropped for another: not where all of them are in use in turn."""
        oldest = next(iter(self._graphs.values()), None)
        if oldest is None or len(self._graphs) < self.max_graphs or self.calls - oldest.used > _MANY * self.max_graphs:
            return True
        self._refuse(
            key,
            CaptureError(
                f"{self.max_graphs} graphs are in use already, one for each size and combination of the arguments. "
                "Use batches of fewer sizes"
            ),
        )
        return False

    def _first(
        self, key: Hashed, tensors: list[Tensor], leaves: list[Any], spec: Any, args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Capture and compile, or find out that this is impossible."""
        known = self._known[key]
        try:
            graph = self._build(key, tensors, leaves, spec)
        except Exception as error:
            if any(isinstance(leaf, float) for leaf in leaves) and self._why_baked is None:
                self._why_baked = error
                return self(*args, **kwargs)
            result = self._run(args, kwargs)  # an error of the user's own code is raised here as itself
            if isinstance(error, UnsteadyError) and not known.failed:
                known.failed, known.equal, known.needed = True, 0, max(2, self.after)
                known.state = self._state(key)
            else:
                self._refuse(key, error)
            return result
        state = known.state = self._state(key)
        if graph is None:
            return self._run(args, kwargs)
        known.equal, known.needed, known.handed_over = 0, _PATIENCE_GROWS * known.needed, True
        self._keep((key, state), graph)
        return self._replay(key, graph, tensors, args, kwargs)

    def _replay(self, key: Hashed, graph: Graph, tensors: list[Tensor], args: tuple, kwargs: dict[str, Any]) -> Any:
        """Replay; at calls 1, 2, 4, 8, ... of a graph, compare with the function itself."""
        graph.calls += 1
        graph.used = self.calls
        if graph.calls & (graph.calls - 1) or not self.verify or any(t.is_cuda for t in graph.state):
            return graph(tensors)
        result, difference = verified(graph, tensors, lambda: self._run(args, kwargs), self.precision)
        if difference:
            self._graphs.clear()
            self._refuse(key, CaptureError(difference))
        return result

    def _build(self, key: Hashed, tensors: list[Tensor], leaves: list[Any], spec: Any) -> Graph | None:
        """The graph of a signature; None while another process compiles it."""
        pending = self._pending.pop(key, None)
        captured = pending.captured if pending else self._capture(key, tensors, leaves, spec)
        devices = {tensor.device.type for tensor in [*tensors, *captured.state]}
        if self._known[key].equal < self.after and devices == {"cpu"}:
            self._pending[key] = Pending(captured, tensors, self.options)
            return None
        replay = pending.result() if pending else lower(captured, tensors, self.options)
        if self.cuda_graph and devices == {"cuda"}:
            replay = CudaGraph(replay, len(tensors))
        return Graph(captured, replay)

    def _capture(self, key: Hashed, tensors: list[Tensor], leaves: list[Any], spec: Any) -> Captured:
        self.captures += 1

        def flat(*inputs: Tensor) -> Any:
            fresh = iter(inputs)
            lifted = (Tensor, float) if self._why_baked is None else (Tensor,)
            filled = [next(fresh) if isinstance(leaf, lifted) else leaf for leaf in leaves]
            args, kwargs = pytree.tree_unflatten(filled, spec)
            with self._running():
                return self.fn(*args, **kwargs)

        guards = self.guards(key)
        with parameters_kept(), guards.unchanged() as changed, Recorder() as recorder, UsedParameters() as used:
            captured = capture(flat, tensors, self.watch)
        if changed:
            raise CaptureError(f"the program changes {changed[0]}, which a graph would not")
        self._guard(key, recorder, used, leaves)
        if guards.forbidden:
            raise CaptureError(guards.forbidden)
        self.watch.ignore(captured.written)
        return captured

    @contextmanager
    def _running(self) -> Iterator[None]:
        with local_params(*self.programs) if self.local else nullcontext(), precise(self.precision):
            yield

    def _run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        with half_of_the_threads(self.compiles_beside), self._running():
            return self.eager(*args, **kwargs)

    def _refuse(self, key: Hashed, error: Exception) -> None:
        self._known[key].refused = True
        self._warn(error)

    def _warn(self, error: Exception) -> None:
        why = explain(error)
        if why.message not in self.reported:
            self.reported.add(why.message)
            warnings.warn_explicit(why.message, EagerWarning, why.filename, why.line)

    def _keep(self, key: tuple[Hashed, State], graph: Graph) -> None:
        self._graphs[key] = graph
        while len(self._graphs) > self.max_graphs:
            self._graphs.popitem(last=False)
