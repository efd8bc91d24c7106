"""Gradient steps of a pair, compiled or not."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import Any

import torch
from pyro.optim import PyroOptim
from torch import Tensor, nn
from torch.optim import Optimizer

from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.compile.eager import Eager
from pyrovae.inference.pair.contract import ProgramLike, call, modules
from pyrovae.inference.training.fused import FusedUpdate, Settings, members_of
from pyrovae.inference.training.gradients import Gradients, clipped, is_finite
from pyrovae.inference.training.minibatches import Transform, each_batch

__all__ = ["EagerUpdateSteps", "FusedSteps", "Graphs", "SeparateSteps", "Steps", "TorchSteps", "routed"]


class Graphs:
    """Makes functions of a pair run compiled, or eagerly.

    Args:
        model, guide: the pair.
        compile: whether to compile.
        precision: `"fp32"`, or `"bf16"` for matrix products and convolutions in bfloat16.
        loss: the loss, whose attributes compiled functions read.
        called: the modules that a run of the pair calls; those outside the pair's own modules are watched too.
        verify: compare replays with the functions now and then.
        local: whether parameters are those of the modules; otherwise as the user's setting has it.
        after: so many calls of each signature run without a graph, which another process compiles meanwhile; 0 compiles
            at once.
    """

    def __init__(
        self,
        model: ProgramLike,
        guide: ProgramLike,
        *,
        compile: bool,
        precision: str,
        loss: Any,
        called: list[nn.Module],
        verify: bool = True,
        local: bool = True,
        after: int = 0,
    ) -> None:
        owned = {id(part) for module in modules(model, guide) for part in module.modules()}
        self.model, self.guide = model, guide
        self.compile, self.precision, self.verify, self.local = compile, precision, verify, local
        self.after = after
        self._watch = [loss, *(module for module in called if id(module) not in owned)]
        self._reported: set[str] = set()

    def __call__(
        self,
        fn: Callable[..., Any],
        *,
        cuda_graph: bool = False,
        options: dict[str, Any] | None = None,
        eager_first: bool = False,
        eager: Callable[..., Any] | None = None,
        of_pair: bool = True,
    ) -> Compiled | Eager:
        """The function, compiled where the pair is.

        Args:
            fn: any function that runs the pair.
            of_pair: whether it runs the pair, whose attributes are then watched.
            eager: a function that does the same, and runs where no graph does; None for `fn` itself.
            cuda_graph: on a GPU, launch the kernels of a replay together.
            options: settings of `torch._inductor.config` that hold while compiling.
            eager_first: run the first call of each signature as it is.
        """
        programs = (self.model, self.guide) if of_pair else ()
        if not self.compile:
            return Eager(eager or fn, *programs, precision=self.precision, local=self.local)
        return Compiled(
            fn,
            *programs,
            watch=self._watch if of_pair else [],
            precision=self.precision,
            reported=self._reported,
            cuda_graph=cuda_graph,
            options=options,
            eager_first=eager_first,
            verify=self.verify,
            local=self.local,
            eager=eager,
            after=self.after,
        )


class Steps(ABC):
    """Gradient steps of a pair.

    Args:
        graphs: how functions of the pair run.

    Attributes:
        compile: whether there are graphs at all.
        parameters: the parameters that steps have used so far.
    """

    parameters: list[Tensor]

    def __init__(self, graphs: Graphs) -> None:
        self.compile = graphs.compile

    def taken(self) -> dict[str, dict[str, int]]:
        """How many calls of each function ran without a graph, by the sizes of its arguments."""
        return {name: function.taken.counts() for name, function in self._compiled()}

    def resume(self, taken: Mapping[str, Mapping[str, int]]) -> None:
        """Go on counting where an earlier training stopped.

        Args:
            taken: its `taken()`.
        """
        for name, function in self._compiled():
            function.taken.resume(taken.get(name, {}))

    @property
    def compiles_beside(self) -> bool:
        """Whether another process may be compiling; this depends on the steps alone, and not on the time."""
        return any(function.compiles_beside for _, function in self._compiled())

    def stop_compiling(self) -> None:
        """End the processes that compile graphs of these steps."""
        for _, function in self._compiled():
            function.stop_compiling()

    def _compiled(self) -> list[tuple[str, Compiled]]:
        return [(name, function) for name, function in vars(self).items() if isinstance(function, Compiled)]

    @property
    @abstractmethod
    def per_graph(self) -> int:
        """How many small steps one call may take."""

    @abstractmethod
    def step(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Take one step, and return the loss before it, a 0-dim tensor.

        Args:
            model, guide: the pair, or the pair as functions of one batch.
            args, kwargs: the arguments of both programs.
        """

    @abstractmethod
    def evaluate(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The loss, a 0-dim tensor; nothing changes.

        Args:
            model, guide: the pair, or the pair as functions of one batch.
            args, kwargs: the arguments of both programs.
        """

    @abstractmethod
    def advance(
        self,
        chunks: Iterable[Tensor | None],
        data: dict[str, Tensor],
        transform: Transform | None,
        *,
        small: bool = False,
    ) -> Tensor:
        """Take steps on minibatches, and return the loss of each.

        Args:
            chunks: row numbers `(steps, B)` of each call; None for one step on all of the data.
            data: named tensors.
            transform: from batch to batch.
            small: whether the steps are so small that Python takes longer than the arithmetic.
        """

    def _one_by_one(
        self,
        routed: tuple[ProgramLike, ProgramLike],
        chunks: Iterable[Tensor | None],
        data: dict[str, Tensor],
        transform: Transform | None,
    ) -> Tensor:
        """`advance`, where each step is a call of its own."""
        batches = (batch for rows in chunks for batch in each_batch(data, rows, transform))
        return torch.stack([torch.as_tensor(self.step(*routed, (batch,), {})) for batch in batches])


def routed(model: ProgramLike, guide: ProgramLike) -> tuple[ProgramLike, ProgramLike]:
    """The programs as functions of one batch, each called with the tensors that its signature names.

    Args:
        model, guide: the pair.
    """
    return MethodType(call, model), MethodType(call, guide)


class TorchSteps(Steps):
    """Steps of a pair whose parameters are known, by one torch optimizer.

    Args:
        graphs: how functions of the pair run.
        gradients: of the loss, with respect to the parameters.
        optimizer: of these parameters.
        clip_norm: bound on the Euclidean norm of all gradients together; None for no bound.
    """

    def __init__(
        self,
        graphs: Graphs,
        gradients: Gradients,
        optimizer: Optimizer | PyroOptim,
        clip_norm: float | None,
    ) -> None:
        super().__init__(graphs)
        self.parameters, self.optimizer, self.clip_norm = gradients.parameters, optimizer, clip_norm
        self.value = graphs(gradients.value)
        self.routed = routed(graphs.model, graphs.guide)
        self._gradients = gradients

    def evaluate(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        return self.value(model, guide, args, kwargs)

    @abstractmethod
    def update(self, loss: Any, gradients: list[Tensor | None]) -> None:
        """Change the parameters by gradients that are known, outside of any graph.

        Args:
            loss: the loss; where it is not finite nothing changes.
            gradients: one per parameter.
        """


class FusedSteps(TorchSteps):
    """Steps whose update is part of the compiled graph.

    Args:
        graphs: how functions of the pair run.
        gradients: of the loss, with respect to the parameters.
        optimizer: of these parameters; `FusedUpdate` covers it.
        clip_norm: bound on the Euclidean norm of all gradients together; None for no bound.
    """

    def __init__(self, graphs: Graphs, gradients: Gradients, optimizer: Optimizer, clip_norm: float | None) -> None:
        super().__init__(graphs, gradients, optimizer, clip_norm)
        self._update = FusedUpdate(members_of(optimizer, self.parameters))
        self.one = graphs(self._one, cuda_graph=True, eager_first=True)
        self.several = graphs(self._several, cuda_graph=True)
        self.several_small = graphs(self._several, options={"cpp_wrapper": True})

    @property
    def per_graph(self) -> int:
        return 4

    def step(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        loss = self.one(model, guide, args, kwargs, self._update.settings())
        self._update.stepped()
        return loss

    def advance(
        self,
        chunks: Iterable[Tensor | None],
        data: dict[str, Tensor],
        transform: Transform | None,
        *,
        small: bool = False,
    ) -> Tensor:
        run = self.several_small if small else self.several
        losses = torch.cat(run.each(chunks, data, transform, self._update.settings()))
        self._update.stepped()
        return losses

    def update(self, loss: Any, gradients: list[Tensor | None]) -> None:
        self._update.settings()
        self._change(loss, gradients)
        self._update.stepped()

    def _several(
        self, rows: Tensor | None, data: dict[str, Tensor], transform: Transform | None, settings: Settings
    ) -> Tensor:
        batches = each_batch(data, rows, transform)
        return torch.stack([self._one(*self.routed, (batch,), {}, settings) for batch in batches])

    def _one(
        self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any], settings: Settings
    ) -> Any:
        loss, gradients = self._gradients(model, guide, args, kwargs)
        self._change(loss, gradients)
        return loss

    def _change(self, loss: Any, gradients: list[Tensor | None]) -> None:
        pairs = zip(self.parameters, clipped(gradients, self.clip_norm), strict=True)
        self._update.update({id(p): gradient for p, gradient in pairs if gradient is not None}, is_finite(loss))


class SeparateSteps(TorchSteps):
    """Steps whose gradients are one graph, and whose update follows it.

    Args:
        graphs: how functions of the pair run.
        gradients: of the loss, with respect to the parameters.
        optimizer: of these parameters.
        clip_norm: bound on the Euclidean norm of all gradients together; None for no bound.
    """

    def __init__(
        self,
        graphs: Graphs,
        gradients: Gradients,
        optimizer: Optimizer | PyroOptim,
        clip_norm: float | None,
    ) -> None:
        super().__init__(graphs, gradients, optimizer, clip_norm)
        self.one = graphs(gradients, eager_first=True)

    @property
    def per_graph(self) -> int:
        return 1

    def step(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        loss, gradients = self.one(model, guide, args, kwargs)
        self.update(loss, gradients)
        return loss

    def advance(
        self,
        chunks: Iterable[Tensor | None],
        data: dict[str, Tensor],
        transform: Transform | None,
        *,
        small: bool = False,
    ) -> Tensor:
        return self._one_by_one(self.routed, chunks, data, transform)


class EagerUpdateSteps(SeparateSteps):
    """Steps whose gradients are compiled, and whose update runs outside of the graph.

    Args:
        graphs: how functions of the pair run.
        gradients: of the loss, with respect to the parameters.
        optimizer: any optimizer of these parameters.
        clip_norm: bound on the Euclidean norm of all gradients together; None for no bound.
        reduce: called with the gradients before the update, to change them in place; None for nothing.
    """

    def __init__(
        self,
        graphs: Graphs,
        gradients: Gradients,
        optimizer: Optimizer | PyroOptim,
        clip_norm: float | None,
        reduce: Callable[[list[Tensor]], None] | None,
    ) -> None:
        super().__init__(graphs, gradients, optimizer, clip_norm)
        self.reduce = reduce

    def update(self, loss: Any, gradients: list[Tensor | None]) -> None:
        given = [gradient for gradient in gradients if gradient is not None]
        if self.reduce is not None:
            self.reduce(given)
        if not bool(is_finite(loss if self.reduce is None else given)):
            return
        for parameter, gradient in zip(self.parameters, clipped(gradients, self.clip_norm), strict=True):
            parameter.grad = gradient
        if isinstance(self.optimizer, Optimizer):
            self.optimizer.step()
        else:
            self.optimizer(self.parameters)
        for parameter in self.parameters:
            parameter.grad = None
