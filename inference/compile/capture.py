"""Capture: the tensor operations of one call of a function, as a graph."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pyro
import torch
from pyro.ops.provenance import ProvenanceTensor
from torch import Tensor, fx
from torch.distributions import Distribution
from torch.overrides import TorchFunctionMode

from pyrovae.imports import private
from pyrovae.inference.compile.lowering.cache import usable_cache
from pyrovae.inference.compile.reasons import CaptureError, RebuiltError, UnsteadyError
from pyrovae.inference.compile.state.reads import PLAIN
from pyrovae.inference.compile.state.watch import Slot, Watch, put_back

__all__ = ["UNCHECKED", "Captured", "capture"]

pytree = private("torch.utils._pytree")
proxy_tensor = private("torch.fx.experimental.proxy_tensor")
detect_fake_mode = private("torch._guards", "detect_fake_mode")
FakeTensor = private("torch._subclasses.fake_tensor", "FakeTensor")
if TYPE_CHECKING:
    from torch.utils._python_dispatch import TorchDispatchMode
else:
    TorchDispatchMode = private("torch.utils._python_dispatch", "TorchDispatchMode")
disable_current_modes = private("torch.utils._python_dispatch", "_disable_current_modes")


class _Unchecked:
    def __bool__(self) -> bool:
        return False


UNCHECKED = _Unchecked()
"""What `validate_args` is, while a program is captured, for distributions that would check their values otherwise."""


@dataclass(frozen=True)
class Captured:
    """A captured function: `(result, written)` of its arguments and its state.

    Attributes:
        module: the graph of ATen operations, from arguments and state to the tensors of the result.
        state: the real tensors that the graph takes after its arguments.
        spec: how the leaves of the result are nested.
        constants: one entry per leaf of the result: None where the graph gives a tensor, else the value in a tuple.
        written: attributes of programs that get new tensors at every call.
    """

    module: fx.GraphModule
    state: list[Tensor]
    spec: Any
    constants: list[tuple[Any] | None]
    written: list[Slot]


def capture(fn: Callable[..., Any], inputs: list[Tensor], watch: Watch) -> Captured:
    """Record the operations of `fn(*inputs)` on fake tensors; nothing real is computed or changed.

    An attribute that is made anew at each call, as Pyro's guides make their plates, is taken away while the function is
    recorded again. If that works, its old value is never read, so it carries nothing from call to call.

    Args:
        fn: a function of tensors.
        inputs: its arguments; their shapes, strides, dtypes and devices count, and their values do not.
        watch: the objects whose attributes `fn` may read and write.

    Raises:
        CaptureError: the result depends on Python state, so one graph cannot stand for all calls.
    """
    usable_cache()
    taken: list[tuple[Slot, Any]] = []
    try:
        while True:
            try:
                return _recorded(fn, inputs, watch)
            except RebuiltError as error:
                slot, value = (error.group, error.name), error.group[error.name]
                if isinstance(value, PLAIN):
                    raise
                taken.append((slot, value))
                del error.group[error.name]
                watch.ignore([slot])
    except Exception as error:
        if taken and not isinstance(error, RebuiltError):
            name = taken[-1][0][1]
            raise CaptureError(f"the program changes its attribute {name!r} at every call") from error
        raise
    finally:
        put_back(taken)


def _recorded(fn: Callable[..., Any], inputs: list[Tensor], watch: Watch) -> Captured:
    """`capture`, for a function that makes no attribute anew."""
    met = _Inputs()
    found: dict[str, Any] = {}
    changed = watch.changes()

    def flat(*fakes: Tensor) -> list[Tensor]:
        with met, _PyroStaysTensors():
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
            put_back(changed())
    module = _with_inputs(module, len(met.state))
    written = [slot for slot, _ in found["changes"]]
    return Captured(module, met.state, found["spec"], found["constants"], written)


_ADDMM = torch.ops.aten.addmm.default


def _bias_apart(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`addmm` as a product and a bias: the bias then fuses with later operations, and is not copied out first.

    It is a subtraction, because inductor turns a product and an addition into `addmm` again.
    """
    if bias.dim() != 1 or beta != 1 or alpha != 1:
        return NotImplemented
    return torch.mm(a, b) - (-bias)


def _check_changes(changes: list[tuple[Slot, Any]], read: list[Tensor]) -> None:
    """A program may cache tensors in its attributes, but may not carry state in them from call to call."""
    for (group, name), old in changes:
        leaves, before = pytree.tree_leaves(group[name]), pytree.tree_leaves(old)
        if not any(isinstance(leaf, Tensor) for leaf in leaves):
            raise RebuiltError(group, name)
        if not any(isinstance(leaf, Tensor) for leaf in before):
            raise UnsteadyError(f"the program sets its attribute {name!r} to a new tensor")
        if any(leaf is tensor for leaf in before for tensor in read):
            raise CaptureError(
                f"the program replaces the tensor {name!r} that it reads at the next call; register it as a "
                "buffer and change it in place"
            )


@contextmanager
def _python_numbers_unused() -> Iterator[None]:
    """Raise if Python's or NumPy's random numbers are drawn inside: a graph would repeat the same ones for ever."""
    python = random.getstate()
    numpy: Any = np.random.get_state()  # noqa: NPY002 programs draw from this one
    yield
    numpy_now: Any = np.random.get_state()  # noqa: NPY002
    if python != random.getstate() or numpy[2:] != numpy_now[2:] or not (numpy[1] == numpy_now[1]).all():
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        raise CaptureError("the program draws random numbers from Python or NumPy; draw them from torch")


@contextmanager
def _traceable_pyro() -> Iterator[None]:
    """Pyro without the code that looks at values: validation, warnings of NaN, and sums over the support alone."""
    with (
        _without_onednn(),
        pyro.validation_enabled(False),
        mock.patch.object(Distribution, "_validate_args", UNCHECKED),
        mock.patch("pyro.util.torch_isnan", return_value=False),
        mock.patch("pyro.util.torch_isinf", return_value=False),
        mock.patch("pyro.infer.util._fulldot", _dot_on_support),
        mock.patch.object(ProvenanceTensor, "__new__", _with_provenance),
    ):
        yield


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Record an LSTM as its operations: the compiler of graphs does not know oneDNN's LSTM."""
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)


def _with_provenance(kind: type, data: Tensor, provenance: frozenset = frozenset()) -> Tensor:
    """A tensor with its provenance. Pyro makes it of the data itself, but a fake tensor has a class already."""
    if not provenance:
        return data
    with disable_current_modes():
        wrapper: Any = Tensor._make_subclass(kind, torch.empty(data.shape, dtype=data.dtype, device="meta"))
    wrapper._t, wrapper._provenance = data, provenance  # all operations go to the data
    return wrapper


def _dot_on_support(probs: Tensor, costs: Tensor) -> Tensor:
    """The sum of probs * costs where probs > 0, in fixed shapes; Pyro selects those elements instead."""
    return (probs * torch.where(probs > 0, costs, 0.0)).sum()


class _PyroStaysTensors(TorchFunctionMode):
    """Answers Pyro's ELBOs without a value: they read values only to report the loss and to skip impossible terms."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.item and _caller().startswith("pyro.infer"):
            return args[0].detach()
        if func is Tensor.all and _caller() == "pyro.infer.util":
            return True  # Dice.compute_expectation asks; `_dot_on_support` is right for either answer
        return func(*args, **(kwargs or {}))


_MACHINERY = (__name__, "torch.overrides", "torch.utils._device", "torch.utils._python_dispatch")


def _caller() -> str:
    """The name of the module whose code called the function that a torch function mode is looking at.

    It is that of the first frame, from the inside out, that belongs neither to this module nor to torch's machinery of
    modes, nor to another mode's `__torch_function__`.
    """
    frame = sys._getframe()
    while frame.f_back is not None and (
        frame.f_globals.get("__name__") in _MACHINERY or frame.f_code.co_name == "__torch_function__"
    ):
        frame = frame.f_back
    return frame.f_globals.get("__name__", "")


@contextmanager
def _unprofiled() -> Iterator[None]:
    """Without the profiler that notes the user's functions: what runs inside is torch's, thousands of calls a node."""
    profiler = sys.getprofile()
    sys.setprofile(None)
    try:
        yield
    finally:
        sys.setprofile(profiler)


class _Inputs(TorchDispatchMode):
    """Makes each real tensor that the traced function touches an input of the graph, by its identity.

    Otherwise the tracer would treat real tensors as constants, and compute with the values of small ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state: list[Tensor] = []
        self._fakes: dict[int, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        with _unprofiled():
            return self._dispatch(func, args, kwargs or {})

    def _dispatch(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
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


# These operations bring in a number of the source, as in `Normal(0., 1.)`, which may stay a constant.
_LITERALS = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default)


def _with_inputs(module: fx.GraphModule, count: int) -> fx.GraphModule:
    """The same graph with the attributes `state_0, state_1, ...` as further inputs after its own."""
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
