"""How noisy an objective's gradient is: the signal-to-noise ratio that the guide learns from."""

from typing import NamedTuple

import pyro
import torch
from torch import nn

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.objectives import Objective
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call, local_params
from pyrovae.inference.pair.running import device_of, seeded

__all__ = ["GradientNoise", "gradient_noise"]


class GradientNoise(NamedTuple):
    """Of the gradient of a mean over the batch, with respect to all parameters of the guide together.

    Attributes:
        norm: |E g|, the length of the mean gradient.
        scale: its standard deviation, the root of the sum of the parameters' variances.
    """

    norm: float
    scale: float

    @property
    def signal_to_noise(self) -> float:
        return self.norm / self.scale


def gradient_noise(
    model: ProgramLike, guide: nn.Module, objective: Objective, batch: Batch, *, repeats: int = 100, seed: int = 0
) -> GradientNoise:
    """Draw the gradient of `objective` on one batch `repeats` times; what varies is the noise of the draws alone.

    Nothing is learned, and the global random state is left alone. The square of the mean's own error is taken off
    |E g|^2, so that noise does not pass for signal.

    Raises:
        PairError: repeats < 2, of which no variance can be told.

    References: Rainforth et al. (2018), Tighter variational bounds are not necessarily better, arXiv:1802.04537.
    """
    if repeats < 2:
        raise PairError(f"gradient_noise wants repeats >= 2, got {repeats}. 100 is a start.")
    parameters = [p for p in guide.parameters() if p.requires_grad]

    def gradient() -> torch.Tensor:
        loss = objective.differentiable_loss(lambda: call(model, batch), lambda: call(guide, batch))
        parts = torch.autograd.grad(loss / batch_size(batch), parameters)
        return torch.cat([part.flatten() for part in parts]).cpu().double()

    with seeded(seed, device_of(model, guide)), local_params(model, guide), pyro.validation_enabled(False):
        total = square = torch.zeros((), dtype=torch.float64)
        for _ in range(repeats):
            g = gradient()
            total, square = total + g, square + g.square()
    mean = total / repeats
    variance = ((square / repeats - mean.square()).sum() * repeats / (repeats - 1)).item()
    return GradientNoise(max(mean.square().sum().item() - variance / repeats, 0.0) ** 0.5, variance**0.5)
