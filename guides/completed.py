"""The guide of data that are missing not at random: z from what was observed, then what is missing from z."""

from typing import Any, cast

import pyro
from pyro import poutine
from torch import Tensor

from pyrovae.models.entries import is_drawn
from pyrovae.models.not_at_random import MISSING, NotAtRandom
from pyrovae.models.program import Program, reopened

__all__ = ["Completed"]


class Completed(Program):
    """q(z, x_missing | x_observed) = q(z | x_observed) p(x_missing | z), where p is the model's own.

    The weight is then p(z) p(x_observed | z) p(mask | x) / q(z | x_observed).

    The guide runs the model's networks and does not own them: its `state_dict` and `parameters` are those of `guide`.
    Copy a pair in one call, `copy.deepcopy((model, guide))`, so that the copies belong together.

    Args:
        guide: any guide q(z | x_observed), such as `ZeroFilled(NormalGuide(encoder), mask=True)`.
        model: the model, whose p(x | z) draws what is missing.

    Call it with `x` and `mask`, as `NotAtRandom`.

    Raises:
        PairError: in a call, the guide does not draw a latent of the model.

    References: Ipsen, Mattei & Frellsen (2021), not-MIWAE, arXiv:2006.12871, section 2.2.
    """

    def __init__(self, guide: Any, model: NotAtRandom) -> None:
        super().__init__()
        self.guide = guide
        self._model = (model,)  # the tuple keeps the model's parameters from being registered a second time

    def forward(self, x: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        with poutine.trace() as run:
            self.guide(x, mask)  # z ~ q(z | x_observed)
        drawn = {name: cast(Tensor, site["value"]) for name, site in run.trace.nodes.items() if is_drawn(site)}
        (model,) = self._model
        entries = model.entries(drawn, x)
        with reopened(len(x)):
            drawn[MISSING] = pyro.sample(MISSING, entries)  # x_missing ~ p(x | z)
        return drawn

    def extra_repr(self) -> str:
        return f"through {type(self._model[0]).__name__}"
