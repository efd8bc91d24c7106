"""Gradient steps in two graphs, with a function of the user's between them that changes the gradients."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from pyrovae.inference.training.fused import FusedUpdate, Settings, members_of
from pyrovae.inference.training.gradients import Gradients, clipped, is_finite
from pyrovae.inference.training.steps import Graphs, SeparateSteps

__all__ = ["SplitSteps"]


class SplitSteps(SeparateSteps):
    """Steps whose gradients are one graph and whose update is another, because `reduce` is no part of a graph.

    Args:
        graphs: how functions of the pair run.
        gradients: of the loss, with respect to the parameters.
        optimizer: of these parameters; `FusedUpdate` covers it.
        clip_norm: bound on the Euclidean norm of all gradients together; None for no bound.
        reduce: called with the gradients before the update, to change them in place.
    """

    def __init__(
        self,
        graphs: Graphs,
        gradients: Gradients,
        optimizer: Optimizer,
        clip_norm: float | None,
        reduce: Callable[[list[Tensor]], None],
    ) -> None:
        super().__init__(graphs, gradients, optimizer, clip_norm)
        self.reduce = reduce
        self._update = FusedUpdate(members_of(optimizer, self.parameters))
        self.change = graphs(self._change, of_pair=False)

    def update(self, loss: Any, gradients: list[Tensor | None]) -> None:
        self.reduce([gradient for gradient in gradients if gradient is not None])
        self.change(gradients, self._update.settings())
        self._update.stepped()

    def _change(self, gradients: list[Tensor | None], settings: Settings) -> None:
        ok = is_finite([gradient for gradient in gradients if gradient is not None])
        pairs = zip(self.parameters, clipped(gradients, self.clip_norm), strict=True)
        self._update.update({id(p): gradient for p, gradient in pairs if gradient is not None}, ok)
