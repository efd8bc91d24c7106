"""Logistic distributions rounded to grey levels, and mixtures of them: exact probabilities of 8-bit pixels."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all
from torch.nn.functional import logsigmoid

from pyrovae.checks import check_count
from pyrovae.errors import SupportError
from pyrovae.models.likelihoods.likelihood import Likelihood, in_units, require_between
from pyrovae.models.likelihoods.location_scale import LocationScale, ScaleMode
from pyrovae.networks.shape import Shape
from pyrovae.numeric import bounded_scale, log1mexp, raw_scale

__all__ = ["DiscretizedLogistic", "DiscretizedLogisticMixture"]

_SPREAD = math.pi / math.sqrt(3)  # the standard deviation of a logistic of scale 1


class DiscretizedLogistic(LocationScale):
    """p(x | z) = prod_i [F(k_i + 1/2) - F(k_i - 1/2)], with the level k = x (levels - 1), F a logistic's distribution.

    F(k) = sigmoid((k / (levels - 1) - loc) / scale). The first and the last level include the mass beyond them, so the
    probabilities of the levels sum to one. Because p is a probability, bits/dim is -log p / (dims log 2) as it is.

    Args:
        event_shape: shape of one data point.
        scale: a number, `"learned"`, `"each"` or `"predicted"`, in units of x; see `ScaleMode`.
        levels: the number of levels, at least 2; x is k / (levels - 1).
        min_scale: a lower bound of the scale, in units of x.

    Raises:
        SettingError: `levels` is below 2, or another setting out of range.
        SupportError: in `check`, x is not a level.

    References: Kingma et al. (2016), arXiv:1606.04934; Salimans et al. (2017), arXiv:1701.05517.
    """

    spread_at_1 = _SPREAD

    def __init__(
        self, event_shape: Shape, scale: ScaleMode = "predicted", *, levels: int = 256, min_scale: float = 0.0
    ) -> None:
        super().__init__(event_shape, scale, min_scale=min_scale)
        self.levels = self.settings["levels"] = _at_least_2(levels)

    def member(self, loc: Tensor, scale: Tensor) -> TorchDistribution:
        return _DiscretizedLogistic(loc, scale, self.levels)

    def start(self, x: Tensor) -> Tensor:
        return self.match_moments(self.rows(x))

    def check(self, x: Tensor) -> None:
        _require_levels(x, self.levels, "DiscretizedLogistic")


class DiscretizedLogisticMixture(Likelihood):
    """p(x | z) = prod_i sum_k w_ik DiscretizedLogistic(x_i; loc_ik, scale_ik), K components at each entry.

    Entries are independent given z: a colour does not depend on the other colours of its pixel, unlike in PixelCNN++.
    The decoder emits K logits of w, K locs and K raw scales per entry, stacked in this order along the first event
    dimension. Locs and scales are in the `unit` of the data, as those of `DiscretizedLogistic`.

    Args:
        event_shape: shape of one data point.
        components: the number of components, K.
        levels: the number of levels, at least 2; x is k / (levels - 1).

    Raises:
        SettingError: `levels` is below 2, or another setting out of range.
        SupportError: in `check`, x is not a level.

    References: Salimans et al. (2017), arXiv:1701.05517.
    """

    unit: Tensor

    def __init__(self, event_shape: Shape, components: int = 5, *, levels: int = 256) -> None:
        components = check_count("components", components, write=5)
        super().__init__(event_shape, 3 * components)
        self.components, self.levels = components, _at_least_2(levels)
        self.settings = {"components": components, "levels": levels}
        self.register_buffer("unit", torch.ones(()))

    def forward(self, params: Tensor) -> TorchDistribution:
        logits, loc, raw = torch.stack(self.parts(params), -1).chunk(3, -1)
        component = _DiscretizedLogistic(self.unit * loc, self.unit * bounded_scale(raw), self.levels)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), component).to_event(len(self.event_shape))

    def start(self, x: Tensor) -> Tensor:
        loc, scale = in_units(self.unit, self.rows(x), _SPREAD)
        # The locs differ by up to a standard deviation, so that the components learn different things.
        apart = torch.linspace(-_SPREAD, _SPREAD, self.components) if self.components > 1 else torch.zeros(1)
        locs = [loc + scale * offset for offset in apart.tolist()]
        return torch.cat([torch.zeros_like(loc)] * self.components + locs + [raw_scale(scale)] * self.components)

    def check(self, x: Tensor) -> None:
        _require_levels(x, self.levels, "DiscretizedLogisticMixture")


def _at_least_2(levels: int) -> int:
    return check_count("levels", levels, 2, write=256)


def _require_levels(x: Tensor, levels: int, name: str) -> None:
    top = levels - 1
    scale = "Store pixels as uint8 and scale them (pyrovae.data.Scale()), or round: x = (x * {0}).round() / {0}."
    rule, instead = f"likelihood {name} requires x in {{0, 1/{top}, ..., 1}}", scale.format(top)
    require_between(x, 0.0, 1.0, rule, instead)
    between = x[~_Levels(levels).check(x)]
    if len(between):
        raise SupportError(f"{rule}, got {between[0].item():.6g} at site 'x', which lies between. {instead}")


class _Levels(constraints.Constraint):
    """The levels {0, 1 / (levels - 1), ..., 1}, up to rounding."""

    is_discrete = True

    def __init__(self, levels: int) -> None:
        self.top = levels - 1

    def check(self, value: Tensor) -> Tensor:
        level = value * self.top
        return ((level - level.round()).abs() < 1e-3) & (level > -0.5) & (level < self.top + 0.5)

    def __repr__(self) -> str:
        return f"a level k / {self.top}"


class _DiscretizedLogistic(TorchDistribution):
    """The distribution of one entry over the levels k / (levels - 1).

    With a and b the ends of a bin, sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - e^(a - b)). The logarithm of
    the right side has no cancellation, so it and its gradient are accurate in the tails too, without a lower bound.
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
        """E[k] = sum_(k > 0) P(level >= k), in a loop: one tensor of all levels would take 256 times the memory."""
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
