"""Aggressive updates of the guide: it is fitted closely to p(z | x) before the model learns to ignore z."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.diagnostics import aggregate_posterior
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.running import Transform

__all__ = ["Aggressive", "Release"]


class Aggressive(torch.optim.Adam):
    """Adam that updates the guide at every step, and the model only at every k-th step, k = `every`.

    Write `fit(..., optim=(Aggressive, {"model": model, "every": 10}), scheduler=partial(Release, ...))`. He et al.
    update the guide until its bound stops rising; here the number of its updates is fixed, so an epoch is one pass over
    the data for the guide and 1/k of a pass for the model. With every=1 this is Adam.

    Args:
        params: the parameters of the pair, as `fit` passes them.
        model: the program whose updates are rarer.
        every: the number k of updates of the guide per update of the model.
        lr: the learning rate.
        betas: the decay rates of the running means of the gradient and of its square.
        eps: the number added to the denominator of an update.
        weight_decay: the coefficient of the L2 penalty, or of the decay.
        amsgrad: whether to divide by the largest running mean of the squared gradient so far.
        decoupled_weight_decay: decay the weights themselves, as AdamW does, instead of the gradient.

    Raises:
        PairError: no parameter of the model is among `params`.
        SettingError: every below 1.

    References: He et al. (2019), Lagging inference networks and posterior collapse, arXiv:1901.05534.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        model: nn.Module,
        every: int = 10,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        every = check_count("every", every, write=10)
        held, params = {id(p) for p in model.parameters()}, list(params)
        slow = [p for p in params if id(p) in held]
        if not slow:
            raise PairError(
                "Aggressive requires parameters of the model, got none of them. Write optim=(Aggressive, "
                "{'model': model, 'every': 10})."
            )
        fast = [p for p in params if id(p) not in held]
        # A checkpoint stores the groups, and with them the counter.
        groups: list[dict[str, Any]] = [{"params": fast}, {"params": slow, "every": every, "seen": 0}]
        super().__init__(
            groups,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    @property
    def held_back(self) -> dict[str, Any]:
        """The group of the model's parameters."""
        return self.param_groups[1]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step. A parameter without a gradient keeps its value and its moments.

        Args:
            closure: as in `torch.optim.Adam.step`.
        """
        group = self.held_back
        group["seen"] += 1
        if group["seen"] % group["every"]:
            for parameter in group["params"]:
                parameter.grad = None
        return super().step(closure)


class Release:
    """Ends the aggressive updates once the codes carry less information about held-out data than an epoch before.

    `fit` takes it as its scheduler: `partial(Release, model=model, guide=guide, data=valid)`. It measures I_q(x; z)
    after each epoch; when that falls, it sets `every` to 1.

    Args:
        optimizer: the `Aggressive` of the training.
        model, guide: the pair.
        data: held-out data; a thousand data points are enough.
        transform: the transform that training applies to a batch; `pyrovae.data.Scale()` if None.
    """

    def __init__(
        self,
        optimizer: Aggressive,
        *,
        model: ProgramLike,
        guide: ProgramLike,
        data: Batch,
        transform: Transform | None = None,
    ) -> None:
        self.optimizer, self.model, self.guide, self.data, self.transform = optimizer, model, guide, data, transform
        self.information = float("-inf")

    def step(self) -> None:
        """Measure the information, and compare it with that of the epoch before."""
        if self.optimizer.held_back["every"] == 1:
            return
        measured = aggregate_posterior(self.model, self.guide, self.data, transform=self.transform)
        if measured.mutual_information.value < self.information:
            self.optimizer.held_back["every"] = 1
        self.information = measured.mutual_information.value

    def state_dict(self) -> dict[str, float]:
        """The information after the last epoch, for a checkpoint."""
        return {"information": self.information}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what `state_dict` gave.

        Args:
            state: a result of `state_dict`.
        """
        self.information = state["information"]
