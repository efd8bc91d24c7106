"""Stochastic variational inference at the speed of a hand-fused loop: `pyro.infer.SVI`, compiled."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import pyro.infer
import torch
from pyro.infer import Trace_ELBO
from pyro.infer.abstract_infer import TracePosterior
from pyro.optim import PyroOptim
from torch import Tensor, nn
from torch.optim import Optimizer

from pyrovae.errors import PairError
from pyrovae.inference.compile.precision import PRECISIONS, precise
from pyrovae.inference.objectives.objective import Tracked
from pyrovae.inference.pair.contract import ProgramLike, modules
from pyrovae.inference.training.fused import FusedUpdate, members_of
from pyrovae.inference.training.gradients import Gradients, LossGradients, check_loss, loss_functions, reported
from pyrovae.inference.training.minibatches import (
    Transform,
    chunks,
    gathered,
    in_memory,
    is_fine,
    is_small,
    one_thread,
    row_order,
)
from pyrovae.inference.training.optimizers import Optim, Whole, check_optim, make_optimizer
from pyrovae.inference.training.parameters import Discovery, discover, discovering, undisturbed, unregistered
from pyrovae.inference.training.processes import OverProcesses
from pyrovae.inference.training.pyro_steps import PyroSteps
from pyrovae.inference.training.split_steps import SplitSteps
from pyrovae.inference.training.steps import EagerUpdateSteps, FusedSteps, Graphs, Steps, TorchSteps, routed

__all__ = ["BESIDE", "SVI"]

BESIDE = 512
"""Steps without a graph while another process compiles it: on two cores, compiling takes about as long as these."""


class SVI(pyro.infer.SVI):
    """A drop-in for `pyro.infer.SVI` that compiles.

    Handlers, loss, gradients and update become one graph per signature of the arguments. `pyrovae.inference.compile`
    explains what that means, and what runs eagerly instead (with an `EagerWarning`). Parameters, optimizer state and
    learning rates are inputs of the graph, so loading a checkpoint and a schedule of the learning rate do not
    recompile.

    With a `pyro.optim` wrapper the parameters, their names in Pyro's store, the optimizers and their state are those
    of `pyro.infer.SVI`, and so is what happens at a loss that is not a number. The first step of each signature is
    Pyro's own. The globals, closure variables, containers and attributes that the programs read are noted then, and
    guarded. While one of them changes, Pyro takes the steps.

    With a torch optimizer the parameters are those of the modules, whatever Pyro's setting `module_local_params` is.
    The first run finds them, and those of the objective, such as FactorVAE's classifier, are added. An instance that
    lacks some of them trains the others, with a warning. A step whose loss
    is not finite changes no parameter.

    Args:
        model, guide: Pyro programs: modules, or any functions.
        optim: a `pyro.optim` wrapper, or a torch optimizer: a class, `(class, arguments)`, a `functools.partial` of a
            class, or an instance. Adam, AdamW, SGD and Pyro's ClippedAdam become part of the graph; others step eagerly
            on compiled gradients.
        loss: an ELBO of `pyro.infer`, an object with `differentiable_loss(model, guide, *args, **kwargs)`, or
            a function of the same arguments that returns a scalar; `Trace_ELBO()` by default.
        loss_and_grads: where `loss` is a function: a function of the same arguments that also adds the gradients to
            `.grad`; None differentiates `loss`.
        num_samples, num_steps: deprecated by Pyro; those of `run`.
        compile: `"beside"` takes the first `BESIDE` steps without a graph, on half of torch's threads while another
            process compiles it, and waits for it then if need be: the number is fixed, because a run could not be
            repeated if it depended on how long compiling takes. True compiles a step at its second call, which takes
            seconds. False never compiles.
        precision: `"fp32"`, or `"bf16"` for matrix products and convolutions in bfloat16.
        clip_norm: bound on the Euclidean norm of all gradients together; None for no bound.
        reduce: called with the gradients between backward pass and update, to change them in place. Several processes
            average their gradients here: `lambda grads: [dist.all_reduce(g, dist.ReduceOp.AVG) for g in grads]`. `fit`
            passes an `OverProcesses`, whose sum is part of the graph.
        verify: compare steps 1, 2, 4, 8, ... of a graph with plain Pyro, on a CPU. Where they differ, Pyro's step is
            taken, with a warning, and all further ones run eagerly.

    Attributes:
        objective: the loss as it was given; `loss` and `loss_and_grads` are its two functions.

    Raises:
        PairError: a precision or an optimizer of another kind.
    """

    def __init__(
        self,
        model: ProgramLike,
        guide: ProgramLike,
        optim: Optim | Whole,
        loss: Any = None,
        loss_and_grads: Callable[..., Any] | None = None,
        num_samples: int = 0,
        num_steps: int = 0,
        *,
        compile: bool | Literal["beside"] = "beside",
        precision: str = "fp32",
        clip_norm: float | None = None,
        reduce: Callable[[list[Tensor]], None] | OverProcesses | None = None,
        verify: bool = True,
    ) -> None:
        if precision not in PRECISIONS:
            raise PairError(f"SVI requires precision to be one of {', '.join(PRECISIONS)}, got {precision!r}.")
        if num_samples or num_steps:
            warnings.warn("num_samples and num_steps of SVI are deprecated by Pyro. Use SVI.step.", FutureWarning, 2)
        TracePosterior.__init__(self)  # that of pyro.infer.SVI takes no torch optimizer
        self.model, self.guide, self.optim = model, guide, optim
        self.num_samples, self.num_steps = num_samples, num_steps
        self.objective: Any = Trace_ELBO() if loss is None else check_loss(loss)
        self.loss, self.loss_and_grads = loss_functions(self.objective, loss_and_grads)
        self.compile, self.precision = compile, precision
        self.clip_norm, self.reduce, self.verify = clip_norm, reduce, verify
        check_optim(optim)
        self._steps: Steps | None = self._made_for_pyro()

    def __getstate__(self) -> dict[str, Any]:
        made = {} if self._steps is None or isinstance(self.optim, PyroOptim) else {"optim": self.optimizer}
        return self.__dict__ | made | {"_steps": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._steps = self._made_for_pyro()

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """Take one gradient step.

        Args:
            args, kwargs: the arguments of the model and the guide.

        Returns:
            The loss as Pyro gives it, a float or a tuple of them.
        """
        if self._steps is None:
            return reported(self._first_step(args, kwargs))
        return reported(self._steps.step(self.model, self.guide, args, kwargs))

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The loss, as Pyro gives it; no parameter changes.

        Args:
            args, kwargs: the arguments of the model and the guide.
        """
        steps = self._prepared(self.model, self.guide, args, kwargs)
        with torch.no_grad():
            return reported(steps.evaluate(self.model, self.guide, args, kwargs))

    def steps(
        self,
        data: Mapping[str, Tensor],
        num_steps: int,
        *,
        batch_size: int | None = None,
        order: Tensor | None = None,
        transform: Transform | None = None,
    ) -> Tensor:
        """Take steps on minibatches of `data`. With a torch optimizer they are gathered inside the graph.

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
        if isinstance(self.reduce, OverProcesses):
            order, transform = self.reduce.shared(order, transform)
        data, order = in_memory(data, order, device)
        if any(tensor.device != device for tensor in data.values()):
            batches = (gathered(data, rows, device) for rows in order)
            return torch.cat([steps.advance([None], batch, transform) for batch in batches])
        return self._in_graphs(steps, order.to(device), dict(data), transform)

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters that steps change; none before the first run of the pair."""
        return self._steps.parameters if self._steps else []

    @property
    def optimizer(self) -> Optimizer | PyroOptim:
        """The optimizer that holds the state of the optimisation: `optim`, or the torch optimizer made of it.

        Raises:
            PairError: the parameters are not known yet; `prepare` finds them.
        """
        if isinstance(self._steps, TorchSteps):
            return self._steps.optimizer
        if isinstance(self.optim, Optimizer | PyroOptim):
            return self.optim
        raise PairError(
            "SVI.optimizer requires a first run of the pair, which finds the parameters, got none. Call "
            "svi.prepare(...) with the arguments of svi.step."
        )

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Find the parameters by one run of the pair, and make the torch optimizer; the first step does this by itself.

        Random numbers and buffers are restored afterwards. With a `pyro.optim` wrapper there is nothing to prepare.

        Args:
            args, kwargs: the arguments of the model and the guide.
        """
        self._prepared(self.model, self.guide, args, kwargs)

    def prepare_batch(self, data: Mapping[str, Tensor], order: Tensor, transform: Transform | None = None) -> None:
        """`prepare` on the first minibatch of `steps`.

        Args:
            data: as for `steps`.
            order: as for `steps`.
            transform: as for `steps`.
        """
        self._prepared_for(data, order, transform)

    def taken(self) -> dict[str, dict[str, int]]:
        """How many calls ran without a graph, by function and sizes; a checkpoint of a training holds it."""
        return self._steps.taken() if self._steps else {}

    def resume(self, taken: Mapping[str, Mapping[str, int]]) -> None:
        """Go on counting where an earlier training stopped; `prepare` or `prepare_batch` must have been called.

        Args:
            taken: its `taken()`.
        """
        if self._steps:
            self._steps.resume(taken)

    @property
    def compiles_beside(self) -> bool:
        """Whether another process may be compiling; this depends on the steps alone, and not on the time."""
        return self._steps is not None and self._steps.compiles_beside

    def close(self) -> None:
        """End the processes that compile beside; they end by themselves when their graphs are compiled."""
        if self._steps:
            self._steps.stop_compiling()

    def _in_graphs(self, steps: Steps, order: Tensor, data: dict[str, Tensor], transform: Transform | None) -> Tensor:
        """Take steps whose minibatches are gathered inside the graph, on one thread where they are small."""
        if steps.compile and is_small(steps.parameters, order):
            with one_thread():
                return steps.advance(chunks(order, steps.per_graph), data, transform, small=True)
        fine = steps.compile and is_fine(steps.parameters, order, getattr(self.objective, "num_particles", 1))
        with one_thread() if fine else nullcontext():
            return steps.advance(order.split(1), data, transform)

    def _prepared_for(
        self, data: Mapping[str, Tensor], order: Tensor, transform: Transform | None
    ) -> tuple[Steps, torch.device]:
        """The steps, prepared on the first minibatch, and the device of the parameters."""
        steps = self._steps
        if steps is None:
            batch = gathered(data, order[0])
            with undisturbed([]):
                batch = transform(batch) if transform else batch
            steps = self._prepared(*routed(self.model, self.guide), (batch,), {})
        return steps, steps.parameters[0].device if steps.parameters else torch.device("cpu")

    def _prepared(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Steps:
        if self._steps is None:
            self._steps = self._made(model, guide, args, kwargs)
        return self._steps

    def _first_step(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The first step finds the parameters by itself: the pair runs once, as under Pyro."""
        for owned in {p for module in modules(self.model, self.guide, *self._learning) for p in module.parameters()}:
            owned.grad = None
        with discovering(self.model, self.guide) as found, precise(self.precision):
            loss, _ = LossGradients(self.objective, [])(self.model, self.guide, args, kwargs)
        self._steps = steps = self._made_of(found())
        gradients = [parameter.grad for parameter in steps.parameters]
        for parameter in steps.parameters:
            parameter.grad = None
        steps.update(loss, gradients)
        return loss

    def _made(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> TorchSteps:
        """The steps of the pair, by one run that finds its parameters."""
        run = partial(LossGradients(self.objective, []).value, model, guide, args, kwargs)
        return self._made_of(discover(run, self.model, self.guide))

    def _made_of(self, found: Discovery) -> TorchSteps:
        """The steps of the pair, whose parameters are known."""
        named = found.named | unregistered(self.model, self.guide, *self._learning, known=found.named)
        optimizer, parameters = make_optimizer(self.optim, named, self.model, self.guide), list(named)
        if isinstance(optimizer, Optimizer):
            held = {id(member.parameter) for member in members_of(optimizer, parameters)}
            parameters = [parameter for parameter in parameters if id(parameter) in held]
        mine, graphs, reduce = LossGradients(self.objective, parameters), self._graphs(found.called), self.reduce
        gradients: Gradients = mine
        if isinstance(reduce, OverProcesses):  # its sum is part of the gradients
            gradients, reduce = reduce.gradients(mine), None
        if isinstance(optimizer, Optimizer) and FusedUpdate.covers(members_of(optimizer, parameters)):
            if reduce is not None:
                return SplitSteps(graphs, gradients, optimizer, self.clip_norm, reduce)
            return FusedSteps(graphs, gradients, optimizer, self.clip_norm)
        return EagerUpdateSteps(graphs, gradients, optimizer, self.clip_norm, reduce)

    @property
    def _learning(self) -> list[Tracked]:
        """The objective, where it has parameters of its own, such as a classifier."""
        objective = self.objective
        return [objective] if isinstance(objective, Tracked) and any(True for _ in objective.parameters()) else []

    def _made_for_pyro(self) -> PyroSteps | None:
        """The steps of a Pyro optimizer, which find their parameters by themselves."""
        if not isinstance(self.optim, PyroOptim):
            return None
        if self._learning:
            raise PairError(
                f"{type(self.objective).__name__} has parameters of its own, and requires a torch optimizer, which "
                f"trains them too, got {type(self.optim).__name__}. Write optim=partial(torch.optim.Adam, lr=1e-3)."
            )
        if isinstance(self.reduce, OverProcesses):
            raise PairError(
                "Several processes require a torch optimizer. Write optim=partial(torch.optim.Adam, lr=1e-3)."
            )
        return PyroSteps(self, self._graphs([], local=False), self.clip_norm, self.reduce)

    def _graphs(self, called: list[nn.Module], *, local: bool = True) -> Graphs:
        return Graphs(
            self.model,
            self.guide,
            compile=bool(self.compile),
            after=BESIDE if self.compile == "beside" else 0,
            precision=self.precision,
            loss=self.objective,
            called=called,
            verify=self.verify,
            local=local,
        )
