"""Stochastic variational inference at the speed of a hand-fused loop: `pyro.infer.SVI`, compiled."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MethodType
from typing import Any

import torch
from pyro.infer import Trace_ELBO
from pyro.optim import PyroOptim
from torch import Tensor
from torch.optim import Optimizer

from pyrovae.errors import PairError
from pyrovae.inference.compile.precision import PRECISIONS, precise
from pyrovae.inference.pair.contract import ProgramLike, call, modules
from pyrovae.inference.training.fused import FusedUpdate
from pyrovae.inference.training.gradients import LossGradients, reported
from pyrovae.inference.training.minibatches import Transform, chunks, gathered, is_small, one_thread, row_order
from pyrovae.inference.training.optimizers import Optim, make_optimizer
from pyrovae.inference.training.parameters import Discovery, discover, discovering, undisturbed
from pyrovae.inference.training.steps import EagerUpdateSteps, FusedSteps, Graphs, Steps

__all__ = ["SVI"]


class SVI:
    """A drop-in for `pyro.infer.SVI` that compiles.

    Handlers, loss, gradients and update become one graph per signature of the arguments. `pyrovae.inference.compile`
    explains what that means, and what runs eagerly instead (with an `EagerWarning`). Parameters, optimizer state and
    learning rates are inputs of the graph, so loading a checkpoint and a schedule of the learning rate do not
    recompile. A step whose loss is not finite changes no parameter.

    The first step finds the parameters and runs as under Pyro. The second is recorded: the globals, closure variables,
    containers and attributes that the programs read are guarded. While one of them changes, steps run eagerly.

    Args:
        model, guide: Pyro programs: modules, whose parameters live in themselves, or any functions.
        optim: a torch optimizer class, `(class, arguments)`, a `functools.partial` of a class, an instance, or a
            `pyro.optim` wrapper. Adam, AdamW and SGD become part of the graph; others step eagerly on compiled
            gradients.
        loss: an ELBO of `pyro.infer`, an object with `differentiable_loss(model, guide, *args, **kwargs)`, or
            a function of the same arguments that returns a scalar; `Trace_ELBO()` by default.
        compile: whether to compile at all.
        precision: `"fp32"`, or `"bf16"` for matrix products and convolutions in bfloat16.
        clip_norm: bound on the Euclidean norm of all gradients together; None for no bound.
        reduce: called with the gradients between backward pass and update, to change them in place. Several processes
            average their gradients here: `lambda grads: [dist.all_reduce(g, dist.ReduceOp.AVG) for g in grads]`.
        verify: compare steps 1, 2, 4, 8, ... of a graph with plain Pyro, on a CPU. Where they differ, Pyro's step is
            taken, with a warning, and all further ones run eagerly.

    Raises:
        PairError: a precision or an optimizer of another kind.
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
        verify: bool = True,
    ) -> None:
        if precision not in PRECISIONS:
            raise PairError(f"SVI requires precision to be one of {', '.join(PRECISIONS)}, got {precision!r}.")
        self.model, self.guide = model, guide
        self.loss: Any = Trace_ELBO() if loss is None else loss
        self.compile, self.precision = compile, precision
        self.clip_norm, self.reduce, self.verify = clip_norm, reduce, verify
        self._optim = optim
        self._steps: Steps | None = None

    def step(self, *args: Any, sync: bool = True, **kwargs: Any) -> Any:
        """Take one gradient step.

        Args:
            args, kwargs: the arguments of the model and the guide.
            sync: whether to wait for the loss.

        Returns:
            The loss as Pyro gives it, a float; with `sync=False` a 0-dim tensor that nothing waits for.
        """
        if self._steps is None:
            loss = self._first_step(args, kwargs)
        else:
            loss = self._steps.step(self.model, self.guide, args, kwargs)
        return reported(loss) if sync else loss

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The loss, as Pyro gives it; no parameter changes.

        Args:
            args, kwargs: the arguments of the model and the guide.
        """
        steps = self._prepared(self.model, self.guide, args, kwargs)
        with torch.no_grad():
            return reported(steps.evaluate(args, kwargs))

    def run(
        self,
        data: Mapping[str, Tensor],
        num_steps: int,
        *,
        batch_size: int | None = None,
        order: Tensor | None = None,
        transform: Transform | None = None,
    ) -> Tensor:
        """Take steps on minibatches of `data`, which are gathered inside the graph.

        Args:
            data: named tensors that share the leading dimension N; a program gets those that its signature names.
            num_steps: how many steps.
            batch_size: B, for random batches; ignored when `order` is given.
            order: row numbers, int64 `(num_steps, B)`.
            transform: from batch to batch, in tensor code: conversion of bytes, binarisation, noise.

        Returns:
            The loss of each step, `(num_steps,)`, on the device of the parameters.

        Raises:
            DataError: neither `order` nor `batch_size` is given, or `order` has another shape.
        """
        order = row_order(data, num_steps, batch_size, order)
        steps, device = self._prepared_for(data, order, transform)
        if not len(order):
            return torch.zeros(0, device=device)
        if any(tensor.device != device for tensor in data.values()):
            batches = (gathered(data, rows, device) for rows in order)
            return torch.cat([steps.advance([None], batch, transform) for batch in batches])
        order = order.to(device)
        if steps.compile and is_small(steps.parameters, order):
            with one_thread():
                return steps.advance(chunks(order, steps.per_graph), dict(data), transform, small=True)
        return steps.advance(order.split(1), dict(data), transform)

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters that steps change; none before the first run of the pair."""
        return self._steps.parameters if self._steps else []

    @property
    def optimizer(self) -> Optimizer | PyroOptim:
        """The optimizer that holds the state of the optimisation: a torch optimizer wherever there is one.

        Raises:
            PairError: the parameters are not known yet; `prepare` finds them.
        """
        if self._steps is not None:
            return self._steps.optimizer
        if isinstance(self._optim, Optimizer):
            return self._optim
        raise PairError(
            "SVI.optimizer requires a first run of the pair, which finds the parameters, got none. Call "
            "svi.prepare(...) with the arguments of svi.step."
        )

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Find the parameters by one run of the pair, and make the optimizer; the first step does this by itself.

        Random numbers and buffers are restored afterwards.

        Args:
            args, kwargs: the arguments of the model and the guide.
        """
        self._prepared(self.model, self.guide, args, kwargs)

    def prepare_batch(self, data: Mapping[str, Tensor], order: Tensor, transform: Transform | None = None) -> None:
        """`prepare` on the first minibatch of `run`.

        Args:
            data: as for `run`.
            order: as for `run`.
            transform: as for `run`.
        """
        self._prepared_for(data, order, transform)

    def _prepared_for(
        self, data: Mapping[str, Tensor], order: Tensor, transform: Transform | None
    ) -> tuple[Steps, torch.device]:
        """The steps, prepared on the first minibatch, and the device of the parameters."""
        steps = self._steps
        if steps is None:
            batch = gathered(data, order[0])
            with undisturbed([]):
                batch = transform(batch) if transform else batch
            steps = self._prepared(MethodType(call, self.model), MethodType(call, self.guide), (batch,), {})
        return steps, steps.parameters[0].device if steps.parameters else torch.device("cpu")

    def _prepared(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Steps:
        if self._steps is None:
            self._steps = self._made(model, guide, args, kwargs)
        return self._steps

    def _first_step(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The first step finds the parameters by itself: the pair runs once, as under Pyro."""
        for owned in {p for module in modules(self.model, self.guide) for p in module.parameters()}:
            owned.grad = None
        with discovering(self.model, self.guide) as found, precise(self.precision):
            loss, _ = LossGradients(self.loss, [])(self.model, self.guide, args, kwargs)
        self._steps = self._made_of(found())
        gradients = [parameter.grad for parameter in self._steps.parameters]
        for parameter in self._steps.parameters:
            parameter.grad = None
        self._steps.update(loss, gradients)
        return loss

    def _made(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Steps:
        """The steps of the pair, by one run that finds its parameters."""
        run = partial(LossGradients(self.loss, []).value, model, guide, args, kwargs)
        return self._made_of(discover(run, self.model, self.guide))

    def _made_of(self, found: Discovery) -> Steps:
        """The steps of the pair, whose parameters are known."""
        optimizer, parameters = make_optimizer(self._optim, found.named), list(found.named)
        if isinstance(optimizer, Optimizer):
            mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
            parameters = [p for p in parameters if id(p) in mine]
        gradients = LossGradients(self.loss, parameters)
        graphs = Graphs(
            self.model,
            self.guide,
            compile=self.compile,
            precision=self.precision,
            loss=self.loss,
            called=found.called,
            verify=self.verify,
        )
        update = FusedUpdate.of(optimizer, parameters) if self.reduce is None else None
        if update is not None:
            return FusedSteps(graphs, gradients, update, self.clip_norm)
        return EagerUpdateSteps(graphs, gradients, optimizer, self.clip_norm, self.reduce)
