"""Capture and replay: a function of Pyro programs becomes one compiled graph.

Pyro runs its effect handlers in Python at every call. They do the same at every call of one signature, so they
need to run only once: with fake tensors, under a tracer that writes down the tensor operations that they make.
`torch._inductor` compiles what was written down; later calls replay it.

Every real tensor that the function touches, wherever it lives (a module, the param store, an optimizer, a
closure), becomes an input of the graph by identity, so replays see its present value and may change it in place.
What cannot be written down faithfully (Python control flow on values, shapes that depend on values, Python state
that changes from call to call) is found out and runs eagerly, with one `EagerWarning`.
"""

import functools
import logging
import random
import sys
import traceback
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyro
import torch
from torch import Tensor, fx, nn
from torch._guards import TracingContext, detect_fake_mode, tracing
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental import proxy_tensor
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from pyrovae.errors import PyrovaeError
from pyrovae.inference.cuda_graph import CudaGraph
from pyrovae.inference.pair import Program, local_params, modules

__all__ = ["CaptureError", "Compiled", "EagerWarning", "Watch", "precise"]

Slot = tuple[dict[str, Any], str]  # an attribute: a `__dict__`, and a name in it

PRECISIONS = ("fp32", "bf16")


class EagerWarning(UserWarning):
    """A function runs eagerly, because it cannot be captured; the message says where and why."""


class CaptureError(PyrovaeError, RuntimeError):
    """A function that no graph can stand for; raised and caught inside this module's `Compiled`."""


class _UnsteadyError(CaptureError):
    """Python state differs after a call: it was set up by it, or it changes at every call."""


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
        *programs: Program,
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
        return tensors, (_Hashed((tuple(parts), spec, _modes())), self.watch())

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
        except _UnsteadyError as error:
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
            captured = _capture(flat, tensors, self.watch)
        self.watch.ignore(captured.written)
        replay = _lower(captured, tensors, self.options)
        if self.cuda_graph and all(tensor.is_cuda for tensor in [*tensors, *captured.state]):
            replay = CudaGraph(replay, len(tensors))
        return _Graph(captured, replay)

    def _run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        with local_params(*self.programs), precise(self.precision):
            return self.fn(*args, **kwargs)

    def _eager(self, args: tuple, kwargs: dict[str, Any], error: Exception) -> Any:
        """Run eagerly, then warn: an error that is the user's own comes out as itself, not as a warning."""
        result = self._run(args, kwargs)
        message, filename, line = _explain(error)
        if message not in self.reported:
            self.reported.add(message)
            warnings.warn_explicit(message, EagerWarning, filename, line)
        return result

    def _keep(self, key: tuple, graph: "_Graph | None") -> None:
        self._graphs[key] = graph
        while len(self._graphs) > self.max_graphs:
            self._graphs.popitem(last=False)


class _Hashed:
    """A tuple that is hashed once: tuples are hashed anew at each look into a dict."""

    __slots__ = ("_hash", "_value")

    def __init__(self, value: tuple) -> None:
        self._value, self._hash = value, hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _Hashed) and self._value == other._value)


class Watch:
    """What a graph holds fixed about some objects: their structure, modes and plain attributes.

    Calling it gives a key, equal as long as nothing changed: which tensors, submodules and other objects hang
    on each attribute (by identity), their dtype, device, shape and `requires_grad`, and the values of numbers,
    strings and flags, `training` among them. Tensors' contents are no part of it.
    """

    _IGNORED = frozenset(nn.Module().__dict__) - {"training"}

    def __init__(self, objects: Sequence[object]) -> None:
        self._objects = objects
        self._ignored: set[tuple[int, str]] = set()
        self._slots: list[Slot] = []
        self.refresh()

    def refresh(self) -> None:
        """Look again for what is there to be watched."""
        self._slots = []
        for item in self._objects:
            parts = item.modules() if isinstance(item, nn.Module) else [item]
            for part in parts:
                self._add(part)
        self._slots = [slot for slot in self._slots if (id(slot[0]), slot[1]) not in self._ignored]
        self._seen: list[Any] = []
        self._state: list[Any] = []
        self._key = _Hashed(())

    def _add(self, part: object) -> None:
        attributes = getattr(part, "__dict__", {})
        self._slots += [(attributes, name) for name in attributes if name not in self._IGNORED]
        if isinstance(part, nn.Module):
            for group in (part._parameters, part._buffers, part._modules):
                self._slots += [(group, name) for name in group]

    def __call__(self) -> "_Hashed":
        values: list[Any] = [group.get(name) for group, name in self._slots]
        state = [(v.data_ptr(), v.requires_grad) for v in values if type(v) in _PLAIN_TENSORS]
        same = len(values) == len(self._seen) and all(a is b for a, b in zip(values, self._seen, strict=True))
        if not same or state != self._state:
            self._seen, self._state = values, state
            self._key = _Hashed(tuple(map(_identity, values)))
        return self._key

    def ignore(self, slots: Sequence[Slot]) -> None:
        """Watch these attributes no longer: each replay writes them."""
        self._ignored |= {(id(group), name) for group, name in slots}
        self.refresh()

    def changes(self) -> Callable[[], list[tuple[Slot, Any]]]:
        """A function that finds, later, the attributes that are not as now, and the values that they had."""
        self.refresh()
        before = {(id(group), name): group[name] for group, name in self._slots}

        def changed() -> list[tuple[Slot, Any]]:
            self.refresh()
            old = [(slot, before.get((id(slot[0]), slot[1]), _ABSENT)) for slot in self._slots]
            return [(slot, value) for slot, value in old if _identity(slot[0][slot[1]]) != _identity(value)]

        return changed


_ABSENT = object()


def _put_back(changes: list[tuple[Slot, Any]]) -> None:
    for (group, name), value in changes:
        if value is _ABSENT:
            del group[name]
        else:
            group[name] = value


_PLAIN_TENSORS = (Tensor, nn.Parameter)
_VALUES = (bool, int, float, str, type(None))


def _identity(value: Any) -> Any:
    if isinstance(value, Tensor):
        return id(value), value.dtype, value.device, value.shape, value.requires_grad
    if isinstance(value, weakref.ref):  # a cache by its nature: what it held may be gone at any time
        return weakref.ref
    return (type(value), value) if type(value) in _VALUES else id(value)


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


# Capture --------------------------------------------------------------------------------------------------------


@dataclass
class _Captured:
    """A graph of ATen operations, the real tensors that it takes after its arguments, and how to read it."""

    module: fx.GraphModule
    state: list[Tensor]
    spec: pytree.TreeSpec
    constants: list[Any]  # one per leaf of the result: None where the graph gives a tensor
    written: list[Slot]  # attributes of programs that get new tensors at every call


class _Graph:
    """A captured function, compiled: call it with the tensors of its arguments."""

    def __init__(self, captured: _Captured, replay: Callable[..., Any]) -> None:
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


def _capture(fn: Callable[..., Any], inputs: list[Tensor], watch: Watch) -> _Captured:
    """Write down the operations of `fn(*inputs)`, on fake tensors; nothing real is computed or changed.

    Raises:
        CaptureError: Python state takes part, so that one graph cannot stand for all calls.
    """
    met = _Inputs()
    found: dict[str, Any] = {}
    changed = watch.changes()

    def flat(*fakes: Tensor) -> list[Tensor]:
        with met, _PyroStaysTensors():  # innermost: the caller of `.item()` must be one frame away
            result = fn(*fakes)
        found["changes"] = changed()
        new = [group[name] for (group, name), _ in found["changes"]]
        leaves, found["spec"] = pytree.tree_flatten((result, new))
        found["constants"] = [None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves]
        return [leaf.detach() for leaf in leaves if isinstance(leaf, Tensor)]

    with _python_numbers_unused():
        try:
            with _traceable_pyro():
                trace = proxy_tensor.make_fx(
                    flat, {_ADDMM: _bias_apart}, tracing_mode="fake", _allow_non_fake_inputs=True
                )
                module = trace(*inputs)
            _check_changes(found["changes"], met.state)
        finally:
            _put_back(changed())
    module = _with_inputs(module, len(met.state))
    written = [slot for slot, _ in found["changes"]]
    return _Captured(module, met.state, found["spec"], found["constants"], written)


_ADDMM = torch.ops.aten.addmm.default


def _bias_apart(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """A product and a bias apart: the bias then fuses with what follows, and is not copied out first.

    Written as a subtraction, because inductor makes `addmm` of a product and an addition again.
    """
    if bias.dim() != 1 or beta != 1 or alpha != 1:
        return NotImplemented
    return torch.mm(a, b) - (-bias)


def _check_changes(changes: list[tuple[Slot, Any]], read: list[Tensor]) -> None:
    """Let a program cache tensors in its attributes, and carry no state in them from call to call."""
    for (group, name), old in changes:
        leaves, before = pytree.tree_leaves(group[name]), pytree.tree_leaves(old)
        if not any(isinstance(leaf, Tensor) for leaf in leaves):
            raise _UnsteadyError(f"the program changes its attribute {name!r} at every call")
        if not any(isinstance(leaf, Tensor) for leaf in before):
            raise _UnsteadyError(f"the program sets its attribute {name!r} to a new tensor")
        if any(leaf is tensor for leaf in before for tensor in read):
            raise CaptureError(
                f"the program replaces the tensor {name!r} that it reads at the next call; register it as a "
                "buffer and change it in place"
            )


@contextmanager
def _python_numbers_unused() -> Iterator[None]:
    """See to it that no random numbers but torch's are drawn inside: a graph would repeat them for ever."""
    python = random.getstate()
    numpy: Any = np.random.get_state()  # noqa: NPY002 the one that programs draw from
    yield
    numpy_now: Any = np.random.get_state()  # noqa: NPY002
    if python != random.getstate() or numpy[2:] != numpy_now[2:] or not (numpy[1] == numpy_now[1]).all():
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        raise CaptureError("the program draws random numbers of Python or NumPy; draw them from torch")


@contextmanager
def _traceable_pyro() -> Iterator[None]:
    """Pyro without what looks at values: validation, NaN warnings, and sums over the support only."""
    with (
        pyro.validation_enabled(False),
        mock.patch("pyro.util.torch_isnan", return_value=False),
        mock.patch("pyro.util.torch_isinf", return_value=False),
        mock.patch("pyro.infer.util._fulldot", _dot_on_support),
    ):
        yield


def _dot_on_support(probs: Tensor, costs: Tensor) -> Tensor:
    """sum of probs * costs where probs > 0, in fixed shapes; Pyro selects those elements instead."""
    return (probs * torch.where(probs > 0, costs, 0.0)).sum()


class _PyroStaysTensors(TorchFunctionMode):
    """Pyro's ELBOs take values out of tensors only to report the loss, and to skip impossible terms."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.item and _caller().startswith("pyro.infer"):
            return args[0].detach()
        if func is Tensor.all and _caller() == "pyro.infer.util":
            return True  # the question of Dice.compute_expectation; `_dot_on_support` does with any answer
        return func(*args, **(kwargs or {}))


def _caller() -> str:
    """The module whose code called the function that a torch function mode is looking at."""
    return sys._getframe(2).f_globals.get("__name__", "")


class _Inputs(TorchDispatchMode):
    """Makes each real tensor that is met while tracing an input of the graph, known by its identity.

    Without this the tracer would take real tensors for constants, and compute with the values of small ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state: list[Tensor] = []
        self._fakes: dict[int, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func not in _LITERALS:
            args, kwargs = pytree.tree_map_only(Tensor, self._fake, (args, kwargs))
        result = func(*args, **kwargs)
        shapes = [leaf.shape for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
        if any(isinstance(size, torch.SymInt) for shape in shapes for size in shape):
            raise CaptureError("the shape of a result depends on values")
        return result

    def _fake(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, FakeTensor):
            return tensor
        if id(tensor) not in self._fakes:
            proxies: Any = proxy_tensor.get_proxy_mode()
            fakes: Any = detect_fake_mode()
            tracer, fake = proxies.tracer, fakes.from_tensor(tensor)
            name = f"state_{len(self.state)}"
            setattr(tracer.root, name, tensor)
            proxy = tracer.create_proxy("get_attr", name, (), {})
            proxy.node.meta["val"] = fake
            proxy_tensor.track_tensor_tree(fake, proxy, constant=None, tracer=tracer)
            self._fakes[id(tensor)] = fake
            self.state.append(tensor)
        return self._fakes[id(tensor)]


# A number in the source, as in `Normal(0., 1.)`, comes in by this operation, and may stay a constant.
_LITERALS = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default)


def _with_inputs(module: fx.GraphModule, count: int) -> fx.GraphModule:
    """The same graph, where the attributes `state_0 ... ` are inputs after its own."""
    graph, copies = fx.Graph(), {}
    nodes = list(module.graph.nodes)
    attributes = {node.target: node for node in nodes if node.op == "get_attr"}
    for node in [node for node in nodes if node.op == "placeholder"]:
        copies[node] = graph.node_copy(node)
    for name in (f"state_{i}" for i in range(count)):
        copies[attributes[name]] = placeholder = graph.placeholder(name)
        placeholder.meta = dict(attributes[name].meta)
    for node in nodes:
        if node not in copies:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.lint()
    return fx.GraphModule(module, graph)


# Compilation ----------------------------------------------------------------------------------------------------


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's deprecation warnings on itself, and its remark on a CUDA toolkit where there is no GPU."""
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
    """Have glibc keep the memory that a step frees, for the next step.

    It hands blocks above a threshold back to the kernel, which faults them in anew at each step, up to half of a
    step's time, unless a large block was once freed: that raises the threshold, to 32 MiB at most.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _lower(captured: _Captured, tensors: list[Tensor], options: dict[str, Any]) -> Callable[..., Any]:
    """Hand a captured graph to inductor; torch's own settings are as before afterwards."""
    with _quiet():
        from torch._inductor import config
        from torch._inductor.compile_fx import compile_fx

    compiler: Callable[..., Any] = compile_fx
    _keep_freed_memory()
    inputs = [*tensors, *(tensor.detach() for tensor in captured.state)]
    # On a CPU torch's own generator is faster than inductor's, and compiled draws what eager does.
    numbers = {"fallback_random": config.fallback_random or all(x.device.type == "cpu" for x in inputs)}
    # Inductor's cache of compiled graphs on the disk is used only under a tracing context with a shape environment.
    fakes = FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True)
    _use_onednn(captured.module)
    with torch.no_grad(), config.patch(numbers | options), _quiet(), tracing(TracingContext(fakes)):
        return compiler(captured.module, inputs)


LARGE_PRODUCT = 2**25
"""Multiplications from which a product is oneDNN's: below, starting it takes longer than it wins."""


def _use_onednn(module: fx.GraphModule) -> None:
    """Give large products in float32 on a CPU to oneDNN: at a batch's shapes it takes 0.83 to 0.92 of MKL's time.

    MKL keeps those whose first factor is transposed (gradients of weights), where it is the faster one.
    """
    if not torch.backends.mkldnn.is_available():
        return
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.mm.default):
        a, b = (factor.meta["val"] for factor in node.args)
        on_cpu = a.device.type == "cpu" and a.dtype == torch.float32
        if on_cpu and a.is_contiguous() and a.numel() * b.shape[1] >= LARGE_PRODUCT:
            node.target = _onednn_product()
    module.recompile()


@functools.cache
def _onednn_product() -> Any:
    """`mm(a, b)` by oneDNN, as an operation that a graph can hold."""

    @torch.library.custom_op("pyrovae::onednn_mm", mutates_args=())
    def product(a: Tensor, b: Tensor) -> Tensor:
        weight = b.t()
        if not (b.is_contiguous() or weight.is_contiguous()):  # a slice: oneDNN would take a thousand times as long
            weight = weight.contiguous()
        return torch.ops.mkldnn._linear_pointwise(a.contiguous(), weight, None, "none", [], "")

    @product.register_fake
    def _(a: Tensor, b: Tensor) -> Tensor:
        return a.new_empty(len(a), b.shape[1])

    return torch.ops.pyrovae.onednn_mm.default


# Precision ------------------------------------------------------------------------------------------------------


def precise(precision: str) -> AbstractContextManager[Any]:
    """The context in which programs run at a precision: `"fp32"` (as written) or `"bf16"`."""
    return _BFloat16Products() if precision == "bf16" else nullcontext()


class _BFloat16Products(TorchDispatchMode):
    """Matrix products and convolutions, forward and backward, on operands rounded to bfloat16.

    The products accumulate in float32 and their results go on in float32, so parameters, gradients, optimizer
    state and log-probabilities keep it.
    """

    _OPERATIONS = frozenset(
        getattr(torch.ops.aten, name).default
        for name in ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward")
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func not in self._OPERATIONS:
            return func(*args, **kwargs)
        args, kwargs = pytree.tree_map_only(Tensor, _narrow, (args, kwargs))
        return pytree.tree_map_only(Tensor, _widen, func(*args, **kwargs))


def _narrow(tensor: Tensor) -> Tensor:
    return tensor.to(torch.bfloat16) if tensor.dtype == torch.float32 else tensor


def _widen(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32) if tensor.dtype == torch.bfloat16 else tensor


# What to say ----------------------------------------------------------------------------------------------------

_LIBRARIES = tuple(str(Path(package.__file__).parent) for package in (torch, pyro, np) if package.__file__)
_STANDARD = str(Path(traceback.__file__).parent)
_OWN = (__file__, str(Path(__file__).with_name("svi.py")), str(Path(__file__).with_name("pair.py")))


def _is_library(filename: str) -> bool:
    standard = filename.startswith(_STANDARD) and "site-packages" not in filename
    return standard or filename.startswith((*_LIBRARIES, "<")) or filename in _OWN


def _explain(error: Exception) -> tuple[str, str, int]:
    """A message for the user, and the file and line of their code that it is about."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_library(frame.filename)]
    where = f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
    message = f"Runs eagerly, not compiled: {_reason(error)}." + (f"\n  {where}" if where else "")
    return message, frames[-1].filename if frames else __file__, (frames[-1].lineno or 1) if frames else 1


def _reason(error: Exception) -> str:
    causes: list[BaseException] = [error]
    while following := causes[-1].__cause__ or getattr(causes[-1], "inner_exception", None):
        causes.append(following)
    names = {type(cause).__name__ for cause in causes}
    text = " ".join(str(error).split())
    if "InvalidCxxCompiler" in names or "InvalidCxxCompiler" in text:
        return "no working C++ compiler was found (install g++ or clang, or set CXX)"
    if names & {"DataDependentOutputException", "GuardOnDataDependentSymNode"} or "get a value out of" in text:
        return "Python needs the value of a tensor here (`if`, `float()`, `.item()`), and it differs at every call"
    if "DynamicOutputShapeException" in names:
        return f"the shape of a result depends on values ({text})"
    return text[:300].rstrip(".") or type(error).__name__
