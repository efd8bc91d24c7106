"""How noisy an objective's gradient is: the signal-to-noise ratio that the guide learns from, and its bias."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

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

__all__ = ["GradientError", "GradientNoise", "gradient_error", "gradient_noise"]


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


@dataclass(frozen=True, repr=False)
class GradientError(Shown):
    """The gradient g of an objective beside the mean gradient h of a reference, over all parameters of the guide.

    Attributes:
        norm: |E h|, the length of the reference.
        bias: |E g - E h|, with the noise of both means subtracted; 0 where it is less than that noise.
        noise: the length that the noise of both means alone would give |E g - E h|.
        scale: the standard deviation of g: the root of the sum of the variances of its entries.
    """

    norm: float
    bias: float
    noise: float
    scale: float

    def cells(self) -> Cells:
        rows = [(name, f"{getattr(self, name):.3g}") for name in ("norm", "bias", "noise", "scale")]
        return Cells(rows)


class _Drawn(NamedTuple):
    """The mean of some gradients, and the sum of the variances of their entries."""

    mean: Tensor
    variance: float
    num_samples: int

    @property
    def square(self) -> float:
        """|E g|^2 without the noise of the mean."""
        return max(self.mean.square().sum().item() - self.variance / self.num_samples, 0.0)


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
    (drawn,) = _drawn("gradient_noise", model, guide, batch, [objective], num_samples, seed)
    return GradientNoise(drawn.square**0.5, drawn.variance**0.5)


def gradient_error(
    model: ProgramLike,
    guide: nn.Module,
    batch: Batch,
    objective: Objective,
    reference: Objective,
    *,
    num_samples: int = 100,
    seed: int = 0,
) -> GradientError:
    """Compare the gradient of an objective on one batch with that of another one, such as `Enumerated(10)`.

    Both are drawn several times; nothing is learned, and the global random state is left alone. With a reference whose
    gradient is that of the ELBO, `bias` is that of the objective's estimator.

    Args:
        model, guide: the pair.
        batch: named tensors, as the programs get them.
        objective: whose gradient is judged, such as `Relaxed(0.5)`.
        reference: an objective without bias.
        num_samples: how often each gradient is drawn.
        seed: the seed of the draws.

    Raises:
        SettingError, PairError, DataError, NonFiniteError, SupportError: as in `gradient_noise`.
    """
    g, h = _drawn("gradient_error", model, guide, batch, [objective, reference], num_samples, seed)
    noise = (g.variance + h.variance) / num_samples
    bias = max((g.mean - h.mean).square().sum().item() - noise, 0.0)
    return GradientError(h.square**0.5, bias**0.5, noise**0.5, g.variance**0.5)


def _drawn(
    what: str,
    model: ProgramLike,
    guide: nn.Module,
    batch: Batch,
    objectives: Sequence[Objective],
    num_samples: int,
    seed: int,
) -> list[_Drawn]:
    """The gradients of each objective, drawn from the same random state."""
    check_count("num_samples", num_samples, 2, write=100)
    for objective in objectives:
        if not isinstance(objective, Objective):
            raise SettingError(f"objective requires an Objective, got {type(objective).__name__}. Write ELBO().")
    parameters = [p for module in modules(guide) for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise PairError(f"{what} requires a guide with parameters, a module, got none. Write NormalGuide(...).")
    batch = entered(what, batch, unchanged, model, guide)
    device = device_of(model, guide)
    with seeded(seed, device), evaluating(model, guide):
        pair = trace_pair(model, guide, batch, data_size=batch_size(batch))
        check_plates(model, guide, pair, batch_size(batch), batch_size(batch))
        check_observed(model, pair)
    run = partial(call, model, batch), partial(call, guide, batch)
    found = []
    for objective in objectives:
        with seeded(seed, device), local_params(model, guide), pyro.validation_enabled(False):
            found.append(
                _moments(what, partial(_gradient, objective, *run, batch_size(batch), parameters), num_samples)
            )
    return found


def _gradient(
    objective: Objective, model: ProgramLike, guide: ProgramLike, size: int, parameters: list[nn.Parameter]
) -> Tensor:
    loss = objective.differentiable_loss(model, guide)
    parts = torch.autograd.grad(loss / size, parameters)
    return torch.cat([part.flatten() for part in parts]).cpu().double()


def _moments(what: str, gradient: Callable[[], Tensor], num_samples: int) -> _Drawn:
    total = square = torch.zeros((), dtype=torch.float64)
    for _ in range(num_samples):
        g = gradient()
        total, square = total + g, square + g.square()
    if not (total.isfinite().all() and square.isfinite().all()):
        raise NonFiniteError(
            f"{what} requires finite gradients, got NaN or infinite ones in {num_samples} draws. "
            "check_pair(model, guide, batch) names the site."
        )
    mean = total / num_samples
    variance = ((square / num_samples - mean.square()).sum() * num_samples / (num_samples - 1)).clamp_min(0).item()
    return _Drawn(mean, variance, num_samples)
