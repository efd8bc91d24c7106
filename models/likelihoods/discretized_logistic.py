"""Logistic distributions rounded to grey levels: an exact probability of 8-bit pixels, and its mixture."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all
from torch.nn.functional import logsigmoid

from pyrovae.errors import SupportError
from pyrovae.models.likelihoods.likelihood import Likelihood, in_units, raw_scale, wants_between
from pyrovae.models.likelihoods.location_scale import LocationScale, Scale
from pyrovae.networks.shape import Shape
from pyrovae.numeric import bounded_scale

__all__ = ["DiscretizedLogistic", "DiscretizedLogisticMixture", "log1mexp"]

_SPREAD = math.pi / math.sqrt(3)  # the standard deviation of a logistic of scale 1


class DiscretizedLogistic(LocationScale):
    """p(x | z) = prod_i [F(k_i + 1/2) - F(k_i - 1/2)], the level k = x (levels - 1), F a logistic's distribution.

    F(k) = sigmoid((k / (levels - 1) - loc) / scale); the first and the last level have the mass beyond them too, so
    the levels sum to one. It is a probability, so bits/dim is -log p / (dims log 2), with nothing to add.

    Args:
        event_shape: shape of one datum.
        scale: `"predicted"` (the decoder emits it per entry: params are loc and raw scale, stacked along the first
            event dimension), `"learned"` (one parameter), or a number, in units of x as loc is.
        levels: how many; x is k / (levels - 1).
        min_scale: smaller scales count as this one, in units of x too.

    Raises:
        SupportError: in `check`, x that is no such level.

    References: Kingma et al. (2016), arXiv:1606.04934; Salimans et al. (2017), arXiv:1701.05517.
    """

    def __init__(
        self, event_shape: Shape, scale: Scale = "predicted", *, levels: int = 256, min_scale: float = 0.0
    ) -> None:
        super().__init__(event_shape, scale, min_scale=min_scale)
        self.levels = _at_least_2(levels)

    spread_at_1 = _SPREAD

    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        return _DiscretizedLogistic(loc, scale, self.levels)

    def check(self, x: Tensor) -> None:
        _wants_levels(x, self.levels, "DiscretizedLogistic")

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, levels={self.levels}"


class DiscretizedLogisticMixture(Likelihood):
    """p(x | z) = prod_i sum_k w_ik DiscretizedLogistic(x_i; loc_ik, scale_ik), K components at each entry.

    Entries are independent given z: there is no regression of a colour on the others, as PixelCNN++ has.
    The decoder emits, per entry, K logits of w, K locs and K raw scales, stacked in this order along the first event
    dimension; locs and scales are in the `unit` of the data, as those of a `DiscretizedLogistic`.

    Args:
        event_shape: shape of one datum.
        components: K.
        levels: how many; x is k / (levels - 1).

    Raises:
        SupportError: in `check`, x that is no such level.

    References: Salimans et al. (2017), arXiv:1701.05517.
    """

    unit: Tensor

    def __init__(self, event_shape: Shape, components: int = 5, *, levels: int = 256) -> None:
        super().__init__(event_shape)
        self.components, self.levels = components, _at_least_2(levels)
        self.params_per_entry = 3 * components
        self.register_buffer("unit", torch.ones(()))

    def forward(self, params: Tensor) -> TorchDistribution:
        logits, loc, raw = torch.stack(self.parts(params), -1).chunk(3, -1)
        component = _DiscretizedLogistic(self.unit * loc, self.unit * bounded_scale(raw), self.levels)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), component).to_event(len(self.event_shape))

    def start(self, x: Tensor) -> Tensor:
        loc, scale = in_units(self.unit, self.rows(x), _SPREAD)
        # Apart by up to a standard deviation, so that each component learns something else.
        apart = torch.linspace(-_SPREAD, _SPREAD, self.components) if self.components > 1 else torch.zeros(1)
        locs = [loc + scale * offset for offset in apart.tolist()]
        return torch.cat([torch.zeros_like(loc)] * self.components + locs + [raw_scale(scale)] * self.components)

    def check(self, x: Tensor) -> None:
        _wants_levels(x, self.levels, "DiscretizedLogisticMixture")

    def extra_repr(self) -> str:
        return f"{self.event_shape}, components={self.components}, levels={self.levels}"


def _at_least_2(levels: int) -> int:
    if levels < 2:
        raise SupportError(f"a discretised likelihood wants levels >= 2, got {levels}. 8-bit pixels have levels=256.")
    return levels


def _wants_levels(x: Tensor, levels: int, name: str) -> None:
    top = levels - 1
    scale = "Store pixels as uint8 and scale them (pyrovae.data.Scale()), or round: x = (x * {0}).round() / {0}."
    wants, instead = f"likelihood {name} wants x in {{0, 1/{top}, ..., 1}}", scale.format(top)
    wants_between(x, 0.0, 1.0, wants, instead)
    between = x[~_Levels(levels).check(x)]
    if len(between):
        raise SupportError(f"{wants}, got {between[0].item():.6g} at site 'x', which lies between. {instead}")


class _Levels(constraints.Constraint):
    """{0, 1 / (levels - 1), ..., 1}, up to rounding."""

    is_discrete = True

    def __init__(self, levels: int) -> None:
        self.top = levels - 1

    def check(self, value: Tensor) -> Tensor:
        level = value * self.top
        return ((level - level.round()).abs() < 1e-3) & (level > -0.5) & (level < self.top + 0.5)

    def __repr__(self) -> str:
        return f"a level k / {self.top}"


class _DiscretizedLogistic(TorchDistribution):
    """One entry, its levels k / (levels - 1).

    With a and b the ends of a bin, sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - e^(a - b)). The logarithm
    of the right side cancels nowhere, so neither it nor its gradient needs a floor, however far the tail.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012

    def __init__(self, loc: Tensor, scale: Tensor, levels: int, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        return _Levels(self.levels)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_DiscretizedLogistic":
        loc, scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        return _DiscretizedLogistic(loc, scale, self.levels, validate_args=self._validate_args)

    @property
    def mean(self) -> Tensor:
        """E[k] = sum_(k > 0) P(level >= k), level by level: all at once would take 256 times the memory."""
        top = self.levels - 1
        total = torch.zeros_like(self.loc)
        for level in range(1, self.levels):
            total = total + torch.sigmoid((self.loc - (level - 0.5) / top) / self.scale)
        return total / top

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        top = self.levels - 1
        with torch.no_grad():
            shape = self._extended_shape(sample_shape)
            uniform = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
            return ((self.loc + self.scale * uniform.logit()) * top).round().clamp(0, top) / top

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        top = self.levels - 1
        level = (value * top).round()
        centred, scale = level - self.loc * top, self.scale * top
        below_top, above_0 = level < top, level > 0
        upper = torch.where(below_top, logsigmoid((centred + 0.5) / scale), 0.0)
        lower = torch.where(above_0, logsigmoid((0.5 - centred) / scale), 0.0)
        return upper + lower + torch.where(below_top & above_0, log1mexp(scale.reciprocal()), 0.0)


def log1mexp(width: Tensor) -> Tensor:
    """log(1 - e^-width), width > 0."""
    return (-torch.expm1(-width)).log()
