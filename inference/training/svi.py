"""Stochastic variational inference at the speed of a hand-fused loop: `pyro.infer.SVI`, compiled."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MethodType
from typing import Any, cast

import torch
from pyro.infer import Trace_ELBO
from pyro.optim import PyroOptim
from pyro.poutine.messenger import Messenger
from pyro.util import warn_if_nan
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from pyrovae.errors import DataError, PairError
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.compile.precision import PRECISIONS, precise
from pyrovae.inference.pair.contract import ProgramLike, call, local_params, modules
from pyrovae.inference.training.optimizers import FusedRule, Optim, Settings, make_optimizer

__all__ = ["SVI", "Transform"]


Transform = Callable[[dict[str, Tensor]], dict[str, Tensor]]


# A graph of several steps pays where Python's part of a step is as long as the arithmetic.
SMALL_STEP = 1_000_000  # parameters x batch size


STEPS_PER_GRAPH = 4


ENOUGH_STEPS = 64  # fewer in one run do not earn the longer compilation


class SVI:
    """A drop-in for `pyro.infer.SVI` that compiles.

    Handlers, loss, gradients and update become one graph per signature of the arguments; see
    `pyrovae.inference.compile` for what that means and for what runs eagerly instead (with an `EagerWarning`).
    Parameters, optimizer state and learning rates are inputs of the graph: loading a checkpoint or a learning
    rate schedule does not recompile. A step whose loss is not finite changes no parameter.

    Args:
        model, guide: Pyro programs: modules, whose parameters live in themselves, or any functions.
        optim: a torch optimizer class, `(class, arguments)`, `functools.partial` of one, an instance, or a
            `pyro.optim` wrapper. Adam, AdamW and SGD become part of the graph; others step eagerly on compiled
            gradients.
        loss: an ELBO of `pyro.infer`, an object with `differentiable_loss(model, guide, *args, **kwargs)`, or
            a function of the same arguments that returns a scalar.
        compile: whether to compile at all.
        precision: `"fp32"`, or `"bf16"`: matrix products and convolutions in bfloat16, all else in float32.
        clip_norm: bound on the Euclidean norm of all gradients together.
        reduce: called with the gradients between backward and update, to change them in place: the seam for
            several processes, `lambda grads: [dist.all_reduce(g, dist.ReduceOp.AVG) for g in grads]`.

    Raises:
        PairError: an argument that is none of the above.
    """

    def __init__(
        self,
        model: ProgramLike,
        guide: ProgramLike,
        optim: Optim,
        loss: Any = None,
        *,
        compile: bool = True,
        precision: str = "fp32",
        clip_norm: float | None = None,
        reduce: Callable[[list[Tensor]], None] | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise PairError(f"precision is one of {', '.join(PRECISIONS)}, got {precision!r}.")
        self.model, self.guide = model, guide
        self.loss: Any = Trace_ELBO() if loss is None else loss
        self.clip_norm, self.reduce = clip_norm, reduce
        self.precision = precision
        self.compile = compile
        self.parameters: list[Tensor] = []
        self._optim = optim
        self._rule: FusedRule | None = None
        self._reported: set[str] = set()
        self._ready = False

    def step(self, *args: Any, sync: bool = True, **kwargs: Any) -> Any:
        """Take one gradient step; `args` and `kwargs` go to the model and the guide.

        Returns:
            The loss, as Pyro gives it: a float, or with `sync=False` a 0-dim tensor, for which nothing waits.
        """
        self.prepare(*args, **kwargs)
        loss = self._step(self.model, self.guide, args, kwargs)
        return _report(loss) if sync else loss

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The loss on these arguments; nothing is learned."""
        self.prepare(*args, **kwargs)
        with torch.no_grad():
            return _report(self._evaluate(args, kwargs))

    def run(
        self,
        data: Mapping[str, Tensor],
        num_steps: int,
        *,
        batch_size: int | None = None,
        order: Tensor | None = None,
        transform: Transform | None = None,
    ) -> Tensor:
        """Take `num_steps` steps on minibatches of `data`, gathered inside the graph.

        Args:
            data: named tensors that share the leading dimension N; a program gets those its signature names.
            batch_size: B, for random batches; ignored when `order` is given.
            order: row numbers, int64 `(num_steps, B)`.
            transform: from batch to batch, in tensor code: conversion of bytes, binarisation, noise.

        Returns:
            The loss of each step, `(num_steps,)`, on the device of the parameters.

        Raises:
            DataError: neither `order` nor `batch_size` is given, or `order` has another shape.
        """
        order = self._order(data, num_steps, batch_size, order)
        device = self.prepare_batch(data, order, transform)
        if not len(order):
            return torch.zeros(0, device=device)
        if any(tensor.device != device for tensor in data.values()):
            batches = (
                {name: tensor[rows.to(tensor.device)].to(device, non_blocking=True) for name, tensor in data.items()}
                for rows in order
            )
            return torch.cat([self._advance([None], batch, transform, self._fused_chunk) for batch in batches])
        order = order.to(device)
        if self._is_small(order):
            with _one_thread():
                chunks = _chunks(order, STEPS_PER_GRAPH if self._rule else 1)
                return self._advance(chunks, dict(data), transform, self._fused_small)
        return self._advance(order.split(1), dict(data), transform, self._fused_chunk)

    @property
    def optimizer(self) -> Optimizer | PyroOptim:
        """What holds the state of the optimisation: a torch optimizer wherever there is one.

        Raises:
            PairError: there is none before the parameters are known; `prepare` finds them.
        """
        if not self._ready and not isinstance(self._optim, Optimizer):
            raise PairError("The optimizer is made with the first step; call svi.prepare(...) to have it before.")
        return self._optim if isinstance(self._optim, Optimizer) else self.make_optimizer

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Find the parameters by one run of the pair, and make the optimizer; the first step does it by itself.

        Random numbers and buffers are afterwards as they were.
        """
        if not self._ready:
            self._discover(self.model, self.guide, args, kwargs)

    def prepare_batch(
        self, data: Mapping[str, Tensor], order: Tensor, transform: Transform | None = None
    ) -> torch.device:
        """`prepare` on the first minibatch of `run`; return the device of the parameters."""
        if not self._ready:
            batch = {name: tensor[order[0].to(tensor.device)] for name, tensor in data.items()}
            with _undisturbed([]):
                batch = transform(batch) if transform else batch
            self._discover(*self._routed(), (batch,), {})
        return self.parameters[0].device if self.parameters else torch.device("cpu")

    def _discover(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> None:
        called: list[nn.Module] = []
        with self._scope(), _undisturbed(called), torch.no_grad(), _Parameters() as found:
            self._loss_value(model, guide, args, kwargs)
        named = {p: name for p, name in found.named.items() if p.requires_grad}
        self.parameters = list(named)
        self.make_optimizer = make_optimizer(self._optim, named)
        if isinstance(self.make_optimizer, Optimizer):
            mine = {id(p) for group in self.make_optimizer.param_groups for p in group["params"]}
            self.parameters = [p for p in self.parameters if id(p) in mine]
        if self.reduce is None:
            self._rule = FusedRule.of(self.make_optimizer, self.parameters)
        self._make_graphs(list(dict.fromkeys(called)))
        self._ready = True

    def _make_graphs(self, called: list[nn.Module]) -> None:
        owned = {id(part) for module in modules(self.model, self.guide) for part in module.modules()}
        watch = [self.loss, *(module for module in called if id(module) not in owned)]

        def graph(fn: Callable[..., Any], cuda_graph: bool = False, **inductor: Any) -> Callable[..., Any]:
            if not self.compile:
                return self._eagerly(fn)
            return Compiled(
                fn,
                self.model,
                self.guide,
                watch=watch,
                precision=self.precision,
                reported=self._reported,
                cuda_graph=cuda_graph,
                options=inductor,
            )

        self._evaluate = graph(partial(self._loss_value, self.model, self.guide))
        self._gradients = graph(self._loss_and_gradients)
        self._fused = graph(self._fused_step, cuda_graph=True)
        self._fused_chunk = graph(self._fused_steps, cuda_graph=True)
        self._fused_small = graph(self._fused_steps, cpp_wrapper=True)

    def _eagerly(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with self._scope(), precise(self.precision):
                return fn(*args, **kwargs)

        return run

    def _scope(self) -> Any:
        return local_params(self.model, self.guide)

    def _step(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        if self._rule is not None:
            return self._rule.stepped(self._fused(model, guide, args, kwargs, self._rule.settings()))
        loss, gradients = self._gradients(model, guide, args, kwargs)
        self._update(loss, gradients)
        return loss

    def _advance(
        self, chunks: Iterable[Tensor | None], data: dict[str, Tensor], transform: Transform | None, fused: Any
    ) -> Tensor:
        """The losses of the steps on chunks of rows of `data`; a chunk None is one step on all of it."""
        if self._rule is not None:
            rest = (data, transform, self._rule.settings())
            steps = fused.each(chunks, *rest) if self.compile else [fused(rows, *rest) for rows in chunks]
            return self._rule.stepped(torch.cat(steps))
        batches = (batch for rows in chunks for batch in self._batches(data, rows, transform))
        losses = [self._step(*self._routed(), (batch,), {}) for batch in batches]
        return torch.stack([torch.as_tensor(loss) for loss in losses])

    def _fused_steps(
        self, rows: Tensor | None, data: dict[str, Tensor], transform: Transform | None, settings: "Settings"
    ) -> Tensor:
        batches = self._batches(data, rows, transform)
        return torch.stack([self._fused_step(*self._routed(), (b,), {}, settings) for b in batches])

    def _fused_step(
        self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any], settings: "Settings"
    ) -> Any:
        loss, gradients = self._loss_and_gradients(model, guide, args, kwargs)
        if self._rule is not None:
            self._rule.update(_clip(gradients, self.clip_norm), _is_finite(loss))
        return loss

    def _loss_and_gradients(
        self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[Any, list[Tensor | None]]:
        with torch.enable_grad(), _collected(self.parameters) as gradients:
            if hasattr(self.loss, "loss_and_grads"):
                loss = self.loss.loss_and_grads(model, guide, *args, **kwargs)
            else:
                loss = self._differentiable(model, guide, *args, **kwargs)
                loss.backward()
        if hasattr(self.loss, "advance"):  # an objective with a schedule counts its steps
            self.loss.advance()
        return tree_map_only(Tensor, Tensor.detach, _tensors(loss, self.parameters)), gradients

    def _update(self, loss: Any, gradients: list[Tensor | None]) -> None:
        """Reduce, clip and step eagerly, with an optimizer that is no part of the graph."""
        if self.reduce is not None:
            self.reduce([gradient for gradient in gradients if gradient is not None])
        if not bool(_is_finite(loss if self.reduce is None else [g for g in gradients if g is not None])):
            return
        gradients = _clip(gradients, self.clip_norm)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if isinstance(self.make_optimizer, Optimizer):
            self.make_optimizer.step()
        else:
            self.make_optimizer(self.parameters)
        for parameter in self.parameters:
            parameter.grad = None

    @property
    def _differentiable(self) -> Callable[..., Tensor]:
        return cast(Callable[..., Tensor], getattr(self.loss, "differentiable_loss", self.loss))

    def _loss_value(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        value = getattr(self.loss, "loss", self._differentiable)
        return _tensors(value(model, guide, *args, **kwargs), self.parameters)

    def _routed(self) -> tuple[ProgramLike, ProgramLike]:
        """The programs as functions of one batch, each given the tensors that its signature names."""
        return MethodType(call, self.model), MethodType(call, self.guide)

    def _batches(
        self, data: dict[str, Tensor], rows: Tensor | None, transform: Transform | None
    ) -> Iterator[dict[str, Tensor]]:
        for row in [None] if rows is None else rows:
            batch = data if row is None else {name: tensor[row] for name, tensor in data.items()}
            yield transform(batch) if transform else batch

    def _order(
        self, data: Mapping[str, Tensor], num_steps: int, batch_size: int | None, order: Tensor | None
    ) -> Tensor:
        if order is None:
            if batch_size is None:
                raise DataError("run() wants order=row numbers (num_steps, B), or batch_size=B.")
            return torch.randint(len(next(iter(data.values()))), (num_steps, batch_size))
        if order.dim() != 2 or len(order) != num_steps:
            raise DataError(f"order is (num_steps, B) = ({num_steps}, B), got {tuple(order.shape)}.")
        return order

    def _is_small(self, order: Tensor) -> bool:
        """Whether Python's part of a step, or that of a second thread, would be longer than the arithmetic."""
        work = sum(p.numel() for p in self.parameters) * order.shape[1]
        return self.compile and order.device.type == "cpu" and work < SMALL_STEP and len(order) >= ENOUGH_STEPS


class _Parameters(Messenger):
    """Collects the (unconstrained) parameters of all programs that run inside; names may clash between them."""

    def __init__(self) -> None:
        super().__init__()
        self.named: dict[Tensor, str] = {}

    def _pyro_post_param(self, msg: Any) -> None:
        value = msg["value"]
        self.named.setdefault(value.unconstrained() if hasattr(value, "unconstrained") else value, msg["name"])


@contextmanager
def _collected(parameters: list[Tensor]) -> Iterator[list[Tensor | None]]:
    """Gather what a backward pass inside adds to the parameters' `.grad`; leave `.grad` itself as it was."""
    kept = [parameter.grad for parameter in parameters]
    gradients: list[Tensor | None] = []
    for parameter in parameters:
        parameter.grad = None
    try:
        yield gradients
        gradients += [parameter.grad for parameter in parameters]
    finally:
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient


@contextmanager
def _undisturbed(called: list[nn.Module]) -> Iterator[None]:
    """Keep random numbers, and the buffers of modules run inside, as they were; list those modules."""
    buffers: dict[int, tuple[Tensor, Tensor]] = {}

    def note(module: nn.Module, _: Any) -> None:
        called.append(module)
        for buffer in module.buffers(recurse=False):
            buffers.setdefault(id(buffer), (buffer, buffer.clone()))

    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    hook = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        hook.remove()
        with torch.no_grad():
            for buffer, value in buffers.values():
                buffer.copy_(value)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Meeting a second thread takes longer than the work of a small step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _clip(gradients: list[Tensor | None], bound: float | None) -> list[Tensor | None]:
    """The gradients, scaled down where their norm together is above `bound`."""
    if bound is None:
        return gradients
    norms = [torch.linalg.vector_norm(gradient) for gradient in gradients if gradient is not None]
    scale = (bound / (torch.linalg.vector_norm(torch.stack(norms)) + 1e-6)).clamp(max=1.0)
    return [None if gradient is None else gradient * scale for gradient in gradients]


def _tensors(loss: Any, like: list[Tensor]) -> Any:
    """A loss as a 0-dim tensor, a tuple of them as a tuple."""
    if isinstance(loss, tuple):
        return tuple(_tensors(part, like) for part in loss)
    if isinstance(loss, Tensor):
        return loss
    return torch.tensor(loss, dtype=like[0].dtype, device=like[0].device) if like else torch.tensor(loss)


def _is_finite(loss: Any) -> Tensor:
    """One flag. Of 16 copies, because inductor computes a reduction once, and a single flag at every use."""
    parts: Iterable[Tensor] = loss if isinstance(loss, tuple | list) else [loss]
    return torch.stack([torch.isfinite(part).all() for part in parts]).expand(16, -1).all()


def _report(loss: Any) -> Any:
    """A loss as Pyro returns it: a float, with Pyro's warning where it is not a number."""
    if isinstance(loss, tuple):
        return type(loss)(map(_report, loss))
    value = float(loss)
    if math.isnan(value):
        warn_if_nan(torch.tensor(value), "loss")
    return value


def _chunks(order: Tensor, size: int) -> Iterator[Tensor]:
    """Blocks of `size` rows, then single ones, so that two graphs do for any number of steps."""
    whole = len(order) - len(order) % size
    for rows in (*order[:whole].split(size), *order[whole:].split(1)):
        if len(rows):
            yield rows
