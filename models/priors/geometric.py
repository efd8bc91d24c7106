"""The prior of a number of objects: geometric, cut at N."""

import math

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_choice, check_count, check_fraction
from pyrovae.models.distributions.presences import Presences
from pyrovae.networks.shape import LARGEST
from pyrovae.recorded import Recorded

__all__ = ["Geometric"]


class Geometric(Recorded, nn.Module):
    """p(n) = s^n (1 - s) for n < N, and p(N) = s^N, of the vector z = 1^n 0^(N - n), shape `(N,)`.

    Args:
        steps: N, the largest number.
        success: s, the chance of a further one, above 0 and below 1.
        learned: whether s is learned from there.

    Raises:
        SettingError: `steps` is no count, `success` is not between 0 and 1, or `learned` is no flag.

    References: Eslami et al. (2016), arXiv:1603.08575.
    """

    logit: Tensor

    def __init__(self, steps: int, success: float = 0.5, *, learned: bool = False) -> None:
        super().__init__()
        self.steps = check_count("steps", steps, most=LARGEST)
        success = check_fraction("success", success, ends=False, write=0.5)
        logit = torch.tensor(math.log(success / (1 - success)))
        if check_choice("learned", learned, (False, True)):
            self.logit = nn.Parameter(logit)
        else:
            self.register_buffer("logit", logit)

    def forward(self) -> TorchDistribution:
        return Presences(self.logit.expand(self.steps))

    def extra_repr(self) -> str:
        learned = isinstance(self.logit, nn.Parameter)
        return f"{self.steps}, success={self.logit.sigmoid().item():.3g}, learned={learned}"
