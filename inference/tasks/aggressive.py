"""Aggressive updates of the guide: it is trained to be near p(z | x) before the model learns to do without z."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.diagnostics import aggregate_posterior
from pyrovae.inference.pair.contract import ProgramLike

__all__ = ["Aggressive", "Release"]


class Aggressive(torch.optim.Adam):
    """Adam that updates the guide at every step, and the model at one step of `every`.

    Write `fit(..., optim=(Aggressive, {"model": model, "every": 10}), scheduler=partial(Release, ...))`. He et al. go
    on with the guide until its bound no longer rises; here the number of steps is fixed, so that an epoch is one pass
    over the data for the guide, and a part of one for the model. With every=1 it is Adam.

    Args:
        params: those of the pair, as `fit` passes them.
        model: the program that is held back.
        every: guide's steps for one of the model's.
        options: those of `torch.optim.Adam`.

    Raises:
        PairError: every < 1, or the model has no parameter among them.

    References: He et al. (2019), Lagging inference networks and posterior collapse, arXiv:1901.05534.
    """

    def __init__(self, params: Iterable[Tensor], *, model: nn.Module, every: int = 10, **options: Any) -> None:
        held, params = {id(p) for p in model.parameters()}, list(params)
        slow = [p for p in params if id(p) in held]
        if every < 1 or not slow:
            raise PairError(
                f"Aggressive wants every >= 1 and a model with parameters, got every={every} and {len(slow)} of the "
                "model's. Write optim=(Aggressive, {'model': model, 'every': 10})."
            )
        fast = [p for p in params if id(p) not in held]
        # The counter is in the group, so that a checkpoint has it.
        groups: list[dict[str, Any]] = [{"params": fast}, {"params": slow, "every": every, "seen": 0}]
        super().__init__(groups, **options)

    @property
    def held_back(self) -> dict[str, Any]:
        """The group of the model's parameters."""
        return self.param_groups[1]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; parameters without a gradient stay as they are, and so do their moments."""
        group = self.held_back
        group["seen"] += 1
        if group["seen"] % group["every"]:
            for parameter in group["params"]:
                parameter.grad = None
        return super().step(closure)


class Release:
    """Ends the aggressive updates when the codes tell no more of held-out data than an epoch before.

    What `fit` takes as scheduler, `partial(Release, model=model, guide=guide, data=valid)`: after each epoch I_q(x; z)
    is measured, and once it falls, `every` becomes 1.

    Args:
        optimizer: `Aggressive`.
        data: held-out data, a thousand are enough.
        transform: what training applies to a batch.
    """

    def __init__(
        self, optimizer: Aggressive, *, model: ProgramLike, guide: ProgramLike, data: Batch, transform: Any = None
    ) -> None:
        self.optimizer, self.model, self.guide, self.data, self.transform = optimizer, model, guide, data, transform
        self.information = float("-inf")

    def step(self) -> None:
        """Measure, and compare with the epoch before."""
        if self.optimizer.held_back["every"] == 1:
            return
        measured = aggregate_posterior(self.model, self.guide, self.data, transform=self.transform)
        if measured.mutual_information.value < self.information:
            self.optimizer.held_back["every"] = 1
        self.information = measured.mutual_information.value

    def state_dict(self) -> dict[str, float]:
        return {"information": self.information}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.information = state["information"]
