"""Capture and replay: a function of Pyro programs becomes one compiled graph.

Pyro runs its effect handlers in Python at every call. They do the same at every call of one signature, so they
need to run only once: with fake tensors, under a tracer that writes down the tensor operations that they make.
`torch._inductor` compiles what was written down; later calls replay it.

Every real tensor that the function touches, wherever it lives (a module, the param store, an optimizer, a
closure), becomes an input of the graph by identity, so replays see its present value and may change it in place.
What cannot be written down faithfully (Python control flow on values, shapes that depend on values, Python state
that changes from call to call) is found out and runs eagerly, with one `EagerWarning`.
"""

import random
import sys
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyro
import torch
from torch import Tensor, fx, nn
from torch._guards import detect_fake_mode
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental import proxy_tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from pyrovae.errors import PyrovaeError
from pyrovae.inference.pair import Program, local_params, modules

__all__ = ["CaptureError", "Compiled", "EagerWarning", "Watch", "precise"]

PRECISIONS = ("fp32", "bf16")


class EagerWarning(UserWarning):
    """A function runs eagerly, because it cannot be captured; the message says where and why."""


class CaptureError(PyrovaeError, RuntimeError):
    """A function that no graph can stand for; raised and caught inside this module's `Compiled`."""


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
        options: dict[str, Any] | None = None,
    ) -> None:
        self.fn = fn
        self.programs = programs
        self.watch = Watch([*modules(*programs), *watch])
        self.precision = precision
        self.max_graphs = max_graphs
        self.reported = set() if reported is None else reported
        self.options = options or {}
        self.captures = 0
        self._bake_floats = False
        self._graphs: OrderedDict[tuple, _Graph | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._graphs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, spec = pytree.tree_flatten((args, kwargs))
        try:
            tensors, key = self._signature(leaves, spec)
        except TypeError as error:  # an argument without a hash, so without a signature
            return self._eager(args, kwargs, CaptureError(f"an argument is not hashable: {error}"))
        if key[:-1] in self._graphs:  # refused, whatever state its programs are in
            return self._run(args, kwargs)
        if key in self._graphs:
            self._graphs.move_to_end(key)
            return self._graphs[key](tensors)
        return self._first(key, tensors, leaves, spec, args, kwargs)

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
        key = (tuple(parts), spec, _modes(), self.watch())
        hash(key)
        return tensors, key

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
        except Exception as error:
            if any(isinstance(leaf, float) for leaf in leaves) and not self._bake_floats:
                self._bake_floats = True
                return self(*args, **kwargs)
            self._keep(key[:-1], None)
            return self._eager(args, kwargs, error)
        self.watch.refresh()
        self._keep((*key[:-1], self.watch()), graph)
        return graph(tensors)

    def _build(self, tensors: list[Tensor], leaves: list[Any], spec: pytree.TreeSpec) -> "_Graph":
        def flat(*inputs: Tensor) -> Any:
            fresh = iter(inputs)
            lifted = (Tensor,) if self._bake_floats else (Tensor, float)
            filled = [next(fresh) if isinstance(leaf, lifted) else leaf for leaf in leaves]
            args, kwargs = pytree.tree_unflatten(filled, spec)
            return self._run(args, kwargs)

        with local_params(*self.programs):
            captured = _steady(flat, tensors, self.watch)
        return _Graph(captured, _lower(captured, tensors, self.options))

    def _run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        with local_params(*self.programs), precise(self.precision):
            return self.fn(*args, **kwargs)

    def _eager(self, args: tuple, kwargs: dict[str, Any], error: Exception) -> Any:
        if __import__("os").environ.get("DBG"):
            traceback.print_exception(error)
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


class Watch:
    """What a graph holds fixed about some objects: their structure, modes and plain attributes.

    Calling it gives a key, equal as long as nothing changed: which tensors, submodules and other objects hang
    on each attribute (by identity), their dtype, device, shape and `requires_grad`, and the values of numbers,
    strings and flags, `training` among them. Tensors' contents are no part of it.
    """

    _IGNORED = frozenset(nn.Module().__dict__) - {"training"}

    def __init__(self, objects: Sequence[object]) -> None:
        self._objects = objects
        self.refresh()

    def refresh(self) -> None:
        """Look again for what is there to be watched."""
        self._slots: list[tuple[dict[str, Any], str]] = []
        for item in self._objects:
            parts = item.modules() if isinstance(item, nn.Module) else [item]
            for part in parts:
                self._add(part)
        self._seen: list[Any] = []
        self._state: list[Any] = []
        self._key: tuple = ()

    def _add(self, part: object) -> None:
        attributes = getattr(part, "__dict__", {})
        self._slots += [(attributes, name) for name in attributes if name not in self._IGNORED]
        if isinstance(part, nn.Module):
            for group in (part._parameters, part._buffers, part._modules):
                self._slots += [(group, name) for name in group]

    def __call__(self) -> tuple:
        values = [group.get(name) for group, name in self._slots]
        state = [(v.data_ptr(), v.requires_grad) for v in values if type(v) in _PLAIN_TENSORS]
        same = len(values) == len(self._seen) and all(a is b for a, b in zip(values, self._seen, strict=True))
        if not same or state != self._state:
            self._seen, self._state = values, state
            self._key = tuple(map(_identity, values))
        return self._key

    def changes(self) -> tuple[dict[tuple[int, str], Any], Callable[[], list[str]]]:
        """The values now, and a function that names the attributes that differ from them later."""
        before = {(id(group), name): group.get(name) for group, name in self._slots}
        keys = {slot: _identity(value) for slot, value in before.items()}

        def changed() -> list[str]:
            return [n for g, n in self._slots if _identity(g.get(n)) != keys[id(g), n]]

        return before, changed

    def restore(self, before: dict[tuple[int, str], Any]) -> None:
        """Put back the values of `changes`."""
        for group, name in self._slots:
            if (id(group), name) in before:
                group[name] = before[id(group), name]

    def leaked(self) -> list[str]:
        """The attributes that hold a fake tensor: a trace that left something behind."""
        return [name for group, name in self._slots if isinstance(group.get(name), FakeTensor)]


_PLAIN_TENSORS = (Tensor, nn.Parameter)
_VALUES = (bool, int, float, str, type(None))


def _identity(value: Any) -> Any:
    if isinstance(value, Tensor):
        return id(value), value.dtype, value.device, value.shape, value.requires_grad
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


class _Graph:
    """A captured function, compiled: call it with the tensors of its arguments."""

    def __init__(self, captured: _Captured, replay: Callable[..., Any]) -> None:
        self._state = [tensor.detach() for tensor in captured.state]
        self._alive = captured.state  # keeps the identities in the key unique
        self._spec, self._constants = captured.spec, captured.constants
        self._replay = replay

    def __call__(self, tensors: list[Tensor]) -> Any:
        with torch.no_grad():
            results = iter(self._replay(*tensors, *self._state))
        leaves = [next(results) if constant is None else constant[0] for constant in self._constants]
        return pytree.tree_unflatten(leaves, self._spec)


def _steady(fn: Callable[..., Any], inputs: list[Tensor], watch: Watch) -> _Captured:
    """Capture a function whose Python state is in its steady state.

    Raises:
        CaptureError: it changes at every call, so that one graph cannot stand for all calls.
    """
    for _ in range(2):  # the first run may still set things up
        before, changed = watch.changes()
        numbers = _python_random_state()
        try:
            captured = _capture(fn, inputs)
        finally:
            leaked = watch.leaked()
            if leaked:
                watch.restore(before)
        if leaked:
            raise CaptureError(f"the program puts a new tensor into its attribute {leaked[0]!r} at every call")
        if numbers != _python_random_state():
            raise CaptureError("the program draws from Python's or NumPy's random numbers; draw from torch's")
        names = changed()
        if not names:
            return captured
        watch.refresh()
    raise CaptureError(f"the program changes its attribute {names[0]!r} at every call")


def _python_random_state() -> tuple:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 the global state is what programs draw from
    return random.getstate(), name, keys.tobytes(), *rest


def _capture(fn: Callable[..., Any], inputs: list[Tensor]) -> _Captured:
    """Write down the operations of `fn(*inputs)`, on fake tensors; nothing real is computed or changed."""
    form: dict[str, Any] = {}
    met = _Inputs()

    def flat(*fakes: Tensor) -> list[Tensor]:
        with met, _LossesStayTensors():  # innermost, so that the caller of `.item()` is one frame away
            leaves, form["spec"] = pytree.tree_flatten(fn(*fakes))
        form["constants"] = [None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves]
        return [leaf.detach() for leaf in leaves if isinstance(leaf, Tensor)]

    with _traceable_pyro():
        module = proxy_tensor.make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
    _make_inputs(module, len(met.state))
    return _Captured(module, met.state, form["spec"], form["constants"])


@contextmanager
def _traceable_pyro() -> Iterator[None]:
    """Pyro without what looks at values: validation and NaN warnings."""

    def no(_: Any) -> bool:
        return False

    with (
        pyro.validation_enabled(False),
        mock.patch("pyro.util.torch_isnan", no),
        mock.patch("pyro.util.torch_isinf", no),
    ):
        yield


class _LossesStayTensors(TorchFunctionMode):
    """Inside Pyro's ELBOs, `.item()` gives the tensor: they use it only to report the loss."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.item and sys._getframe(1).f_globals.get("__name__", "").startswith("pyro.infer"):
            return args[0].detach()
        return func(*args, **(kwargs or {}))


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
        return func(*args, **kwargs)

    def _fake(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, FakeTensor):
            return tensor
        if id(tensor) not in self._fakes:
            tracer = proxy_tensor.get_proxy_mode().tracer
            fake = detect_fake_mode().from_tensor(tensor.detach())
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


def _make_inputs(module: fx.GraphModule, count: int) -> None:
    """Turn the attributes `state_0 ... ` of a graph into inputs after its own."""
    graph = module.graph
    nodes = {node.target: node for node in graph.find_nodes(op="get_attr")}
    body = next(node for node in graph.nodes if node.op != "placeholder")
    for name in (f"state_{i}" for i in range(count)):
        with graph.inserting_before(body):
            placeholder = graph.placeholder(name)
        placeholder.meta = dict(nodes[name].meta)
        nodes[name].replace_all_uses_with(placeholder)
        graph.erase_node(nodes[name])
        delattr(module, name)
    graph.lint()
    module.recompile()


# Compilation ----------------------------------------------------------------------------------------------------


def _lower(captured: _Captured, tensors: list[Tensor], options: dict[str, Any]) -> Callable[..., Any]:
    """Hand a captured graph to inductor; torch's own settings are as before afterwards."""
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx

    inputs = [*tensors, *(tensor.detach() for tensor in captured.state)]
    with torch.no_grad(), config.patch(options), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, on its own internals
        return compile_fx(captured.module, inputs)


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
_OWN = (__file__, str(Path(__file__).with_name("svi.py")), str(Path(__file__).with_name("pair.py")))


def _explain(error: Exception) -> tuple[str, str, int]:
    """A message for the user, and the file and line of their code that it is about."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*_LIBRARIES, "<")) and frame.filename not in _OWN
    ]
    where = f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
    message = f"Runs eagerly, not compiled: {_reason(error)}." + (f"\n  {where}" if where else "")
    return message, frames[-1].filename if frames else __file__, (frames[-1].lineno or 1) if frames else 1


def _reason(error: Exception) -> str:
    causes = [error]
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
