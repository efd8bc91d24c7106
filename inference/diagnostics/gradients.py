"""How noisy an objective's gradient is: the signal-to-noise ratio that the guide learns from."""

from dataclasses import dataclass

import pyro
import torch
from torch import Tensor, nn

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.errors import NonFiniteError, PairError, SettingError
from pyrovae.inference.objectives import Objective
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call, local_params, modules
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.plates import check_plates
from pyrovae.inference.pair.running import device_of, evaluating, seeded, unchanged
from pyrovae.inference.pair.tracing import trace_pair
from pyrovae.inference.pair.values import check_observed

__all__ = ["GradientNoise", "gradient_noise"]


@dataclass(frozen=True, repr=False)
class GradientNoise(Shown):
    """The gradient g of an objective's mean over a batch, with respect to all parameters of the guide together.

    Attributes:
        norm: |E g|, the length of the mean gradient.
        scale: the standard deviation of g: the root of the sum of the variances of its entries.
    """

    norm: float
    scale: float

    @property
    def signal_to_noise(self) -> float:
        """|E g| divided by the standard deviation of g."""
        return self.norm / self.scale

    def cells(self) -> Cells:
        ratio = f"{self.signal_to_noise:.3g}" if self.scale else "-"
        rows = [("norm", f"{self.norm:.3g}"), ("scale", f"{self.scale:.3g}"), ("signal to noise", ratio)]
        return Cells(rows)


def gradient_noise(
    model: ProgramLike, guide: nn.Module, batch: Batch, objective: Objective, *, num_samples: int = 100, seed: int = 0
) -> GradientNoise:
    """Draw the gradient of an objective on one batch several times; only the draws of the objective vary.

    Nothing is learned, and the global random state is left alone. The squared error of the mean is subtracted from
    |E g|^2; otherwise noise would count as signal.

    Args:
        model, guide: the pair.
        batch: named tensors, as the programs get them.
        objective: whose gradient is drawn, such as `ELBO()`.
        num_samples: how often the gradient is drawn.
        seed: the seed of the draws.

    Raises:
        SettingError: num_samples < 2, which leaves no variance to compute; the objective is none.
        PairError: the guide has no parameters.
        DataError: the batch is no named tensors.
        NonFiniteError, SupportError: a value of the batch, or a gradient, is not finite or outside its support.

    References: Rainforth et al. (2018), Tighter variational bounds are not necessarily better, arXiv:1802.04537.
    """
    check_count("num_samples", num_samples, 2, write=100)
    if not isinstance(objective, Objective):
        raise SettingError(f"objective requires an Objective, got {type(objective).__name__}. Write ELBO().")
    parameters = [p for module in modules(guide) for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise PairError("gradient_noise requires a guide with parameters, a module, got none. Write NormalGuide(...).")
    batch = entered("gradient_noise", batch, unchanged, model, guide)
    device = device_of(model, guide)
    with seeded(seed, device), evaluating(model, guide):
        pair = trace_pair(model, guide, batch, data_size=batch_size(batch))
        check_plates(model, guide, pair, batch_size(batch), batch_size(batch))
        check_observed(model, pair)

    def gradient() -> Tensor:
        loss = objective.differentiable_loss(lambda: call(model, batch), lambda: call(guide, batch))
        parts = torch.autograd.grad(loss / batch_size(batch), parameters)
        return torch.cat([part.flatten() for part in parts]).cpu().double()

    with seeded(seed, device), local_params(model, guide), pyro.validation_enabled(False):
        total = square = torch.zeros((), dtype=torch.float64)
        for _ in range(num_samples):
            g = gradient()
            total, square = total + g, square + g.square()
    if not (total.isfinite().all() and square.isfinite().all()):
        raise NonFiniteError(
            f"gradient_noise requires finite gradients, got NaN or infinite ones in {num_samples} draws. "
            "check_pair(model, guide, batch) names the site."
        )
    mean = total / num_samples
    variance = ((square / num_samples - mean.square()).sum() * num_samples / (num_samples - 1)).clamp_min(0).item()
    return GradientNoise(max(mean.square().sum().item() - variance / num_samples, 0.0) ** 0.5, variance**0.5)
