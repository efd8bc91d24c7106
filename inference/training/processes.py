"""Training on several processes: each computes the gradient of its share of a batch, and the sum is that of the batch.

The loss of a batch is the sum of the losses of its shares, or, where the pair scales it to all data points, their mean,
weighted by their rows. Which of the two holds is measured before the first step, on the first batch: the loss of the
whole batch is compared with those of its shares, by the same noise. Where neither holds, something couples the data
points of a batch, and the training is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.imports import private
from pyrovae.inference.objectives.objective import Objective, Tracked
from pyrovae.inference.pair.contract import ProgramLike, batch_size, local_params, modules
from pyrovae.inference.processes.noise import WholeNoise
from pyrovae.inference.processes.processes import Processes
from pyrovae.inference.processes.share import Share
from pyrovae.inference.training.gradients import LossGradients
from pyrovae.inference.training.minibatches import Transform
from pyrovae.inference.training.parameters import undisturbed
from pyrovae.inference.training.steps import routed

__all__ = ["OverProcesses", "SharedGradients"]

pytree = private("torch.utils._pytree")

SHARE = "share of the batch"
"""The entry of a batch that says which rows it has; a compiled step is one for each share."""

_CLOSE = 1e-4
"""The share of a loss by which rounding may change it."""


@dataclass(frozen=True)
class _Shared:
    """A transform of the rows of a share, with the noise that they have in the whole batch."""

    over: "OverProcesses"
    share: Share
    transform: Transform | None

    def __call__(self, batch: dict[str, Tensor]) -> Any:
        with self.over.noise(self.share).everywhere():
            made = self.transform(batch) if self.transform else batch
        return {**made, SHARE: self.share}

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class OverProcesses:
    """How the steps of `SVI` are shared by several processes: its argument `reduce`.

    Args:
        processes: those that train; all have the same weights, optimizer state and random state.

    Attributes:
        additive: whether the loss of a batch is the sum of those of its shares; otherwise it is their weighted mean.
        drawn_outside: whether programs draw random numbers of the rows outside of sites, as dropout does.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.additive, self.drawn_outside = True, True
        self._transforms: dict[tuple[int, Share], _Shared] = {}

    def noise(self, share: Share) -> WholeNoise:
        """The noise of some rows of a batch.

        Args:
            share: the rows.
        """
        return WholeNoise(share, self.processes.summed)

    def shared(self, order: Tensor, transform: Transform | None) -> tuple[Tensor, Transform]:
        """The rows of this process, and the transform of their batches.

        Args:
            order: row numbers of the steps, `(steps, B)`.
            transform: from batch to batch.
        """
        share = self.processes.share(order.shape[1])
        found = self._transforms.setdefault((id(transform), share), _Shared(self, share, transform))
        return share.rows(order, 1).contiguous(), found

    def gradients(self, gradients: LossGradients) -> "SharedGradients":
        """The gradients of whole batches.

        Args:
            gradients: those of the rows of this process.
        """
        return SharedGradients(gradients, self)

    def weight(self, share: Share) -> float:
        """The factor of the loss of some rows in that of the batch.

        Args:
            share: the rows.
        """
        return float(share.counts) if self.additive else share.fraction

    def learn(
        self, model: ProgramLike, guide: ProgramLike, loss: Any, batch: Batch, transform: Transform | None
    ) -> None:
        """Learn how the losses of shares make that of the batch; nothing changes.

        Args:
            model, guide: the pair.
            loss: the loss.
            batch: the first batch of the training, before the transform.
            transform: from batch to batch.

        Raises:
            PairError: the loss of a batch is no sum over its shares, because something couples the data points.
        """
        if isinstance(loss, Objective) and loss.couples:
            raise PairError(f"{self._requires()}, got {type(loss).__name__}, {loss.couples}. {_INSTEAD}")
        share, whole = self.processes.share(batch_size(batch)), Share(0, batch_size(batch), batch_size(batch))
        noise = self.noise(share)
        right = self._loss(model, guide, loss, batch, transform, self.noise(whole))
        mine = self._loss(model, guide, loss, {n: share.rows(t) for n, t in batch.items()}, transform, noise)
        weighed = [mine * float(share.counts), mine * share.fraction, right / self.processes.size]
        total, mean, same = (self.processes.summed(value) for value in weighed)
        self.drawn_outside = self.processes.any(noise.outside)
        self.additive = _are_close(total, same)
        if not self.additive and not _are_close(mean, same):
            raise PairError(self._coupled(model, guide, right, total))

    def _loss(
        self,
        model: ProgramLike,
        guide: ProgramLike,
        loss: Any,
        batch: Batch,
        transform: Transform | None,
        noise: WholeNoise,
    ) -> Tensor:
        """The loss of some rows, in float64."""
        programs = routed(model, guide)
        with local_params(model, guide), undisturbed([]), torch.no_grad():
            with noise.everywhere():
                made = transform(dict(batch)) if transform else batch
            noise.outside = False  # the transform has a mode of its own
            with noise.everywhere():
                value = LossGradients(loss, []).value(*programs, (made,), {})
        return torch.stack([part.double() for part in pytree.tree_leaves(value)])

    def _requires(self) -> str:
        return f"A training on {self.processes.size} processes requires a loss that is a sum over data points"

    def _coupled(self, model: ProgramLike, guide: ProgramLike, right: Tensor, total: Tensor) -> str:
        """Why the pair cannot be trained on several processes."""
        names = [type(m).__name__ for program in modules(model, guide) for m in program.modules() if _is_norm(m)]
        cause = "The loss or a layer couples the data points of a batch. Write"
        if names:
            cause = f"{names[0]} normalises over the batch. Write nn.GroupNorm or nn.LayerNorm, or"
        return (
            f"{self._requires()}, got {right.sum().item():.6g} for the first batch and {total.sum().item():.6g} for "
            f"its shares together, by the same noise. {cause} devices=1."
        )


_INSTEAD = "Write devices=1, or loss=ELBO()."


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def _are_close(first: Tensor, second: Tensor) -> bool:
    return bool(((first - second).abs() <= _CLOSE * second.abs() + 1e-6).all())


class SharedGradients:
    """The loss of whole batches and its gradients, of which each process computes its share.

    Args:
        gradients: those of the rows of this process.
        over: how the steps are shared.

    Attributes:
        parameters: the parameters.
    """

    def __init__(self, gradients: LossGradients, over: OverProcesses) -> None:
        self._gradients, self._over = gradients, over
        self.parameters = gradients.parameters

    def value(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The loss of the rows that this process is given; nothing is differentiated or exchanged.

        Args:
            model, guide: the pair.
            args, kwargs: the arguments of both programs.
        """
        return self._gradients.value(model, guide, args, kwargs)

    def __call__(
        self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[Any, list[Tensor | None]]:
        """The loss of the whole batch, and its gradient by each parameter; one exchange brings both together."""
        (batch,) = args
        share = batch[SHARE]
        mine = {name: value for name, value in batch.items() if name != SHARE}
        noise, tracked = self._over.noise(share), _Tracked(self._gradients.loss)
        with noise.everywhere() if self._over.drawn_outside else noise.at_sites():
            loss, gradients = self._gradients(model, guide, (mine,), kwargs)
        losses, spec = pytree.tree_flatten(loss)
        weight = self._over.weight(share)
        parts = [*losses, *(g for g in gradients if g is not None), *tracked.gained(float(share.counts), weight)]
        summed = iter(self._over.processes.summed_together(parts, weight))
        loss = pytree.tree_unflatten([next(summed) for _ in losses], spec)
        whole = [None if gradient is None else next(summed) for gradient in gradients]
        tracked.add(summed)
        return loss, whole


class _Tracked:
    """What an objective has tracked in one step, of the whole batch in the end.

    Args:
        objective: the loss; one that tracks nothing is left alone.
    """

    def __init__(self, objective: Any) -> None:
        self._objective = objective if isinstance(objective, Tracked) else None
        self._before = torch.zeros(()) if self._objective is None else self._objective.tracked.clone()

    def gained(self, counts: float, weight: float) -> list[Tensor]:
        """What the step has added, for a sum in which it is multiplied by a weight.

        Args:
            counts: 1, or 0 where the rows count nothing.
            weight: the weight.
        """
        if self._objective is None:
            return []
        gained = self._objective.tracked - self._before.to(self._objective.tracked.device)
        return [gained * (counts / weight if weight else 0.0)]

    @torch.no_grad()
    def add(self, summed: Iterator[Tensor]) -> None:
        """Put what all processes have added in the place of what this one has.

        Args:
            summed: the sum, where there is one.
        """
        if self._objective is not None:
            total = next(summed).to(self._objective.tracked)
            self._objective.tracked.copy_(self._before.to(total.device) + total)
