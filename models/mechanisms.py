"""Mechanisms p(mask | x): what hides an entry of x, given all of x."""

import math
from typing import Literal, Self

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyrovae.errors import SettingError
from pyrovae.networks.shape import Shape, as_shape
from pyrovae.recorded import Recorded

__all__ = ["Mechanism", "SelfMasking"]

STEEPNESS = 6.0
"""The fall of the logit over one standard deviation of the observed values, where a mechanism starts at a threshold."""


class Mechanism(Recorded, nn.Module):
    """p(mask | x) = prod_d Bernoulli(mask_d; sigmoid(network(x)_d)), where mask_d = 1 is an observed entry.

    `Mechanism(nn.Linear(D, D))` is the linear mechanism, and a network with hidden layers any function of x.
    Which mechanism holds cannot be learned from the data alone: each is an assumption.

    Args:
        network: `(*, *event) -> (*, *event)`, the logits of being observed.
        event_dim: the number of dimensions of one data point, 1 for a row of a table and 3 for an image.

    References: Ipsen, Mattei & Frellsen (2021), arXiv:2006.12871, section 3.
    """

    def __init__(self, network: nn.Module, event_dim: int = 1) -> None:
        super().__init__()
        self.network, self.event_dim = network, event_dim

    def forward(self, x: Tensor) -> TorchDistribution:
        """p(mask | x) for `x` `(*, B, *event)`."""
        return dist.Bernoulli(logits=self.network(x)).to_event(self.event_dim)


class SelfMasking(Recorded, nn.Module):
    """p(mask | x) = prod_d Bernoulli(mask_d; sigmoid(offset_d - slope_d x_d)): an entry hides itself by its value.

    Args:
        event_shape: the shape of one data point.
        hides: `"large"` for slopes above 0, so that large values are missing more often; `"small"` for slopes below 0;
            None to learn the sign. The data seldom determine the sign, so to state it is knowledge that counts.

    Raises:
        SettingError: another word for `hides`.

    References: Ipsen, Mattei & Frellsen (2021), arXiv:2006.12871, section 3 and table 2.
    """

    def __init__(self, event_shape: Shape, hides: Literal["large", "small"] | None = None) -> None:
        super().__init__()
        if hides not in (None, "large", "small"):
            raise SettingError(f"SelfMasking requires hides='large', 'small' or None, got {hides!r}.")
        self.event_shape, self.hides = as_shape(event_shape), hides
        self.offset = nn.Parameter(torch.zeros(self.event_shape))
        self.raw_slope = nn.Parameter(torch.zeros(self.event_shape))

    @property
    def slope(self) -> Tensor:
        """The fall of the logit of being observed per unit of x, `event_shape`."""
        if self.hides is None:
            return self.raw_slope
        return softplus(self.raw_slope) if self.hides == "large" else -softplus(self.raw_slope)

    def forward(self, x: Tensor) -> TorchDistribution:
        """p(mask | x) for `x` `(*, B, *event)`."""
        return dist.Bernoulli(logits=self.offset - self.slope * x).to_event(len(self.event_shape))

    def start(self, mask: Tensor) -> Self:
        """The same mechanism, which starts at the share of observed entries of each column.

        Args:
            mask: the masks of the training data, `(N, *event)`.
        """
        observed = (mask.to(self.offset.dtype).sum(0) + 0.5) / (len(mask) + 1)
        self.offset.data.copy_(observed.logit())
        return self

    def start_at_threshold(self, x: Tensor, mask: Tensor) -> Self:
        """The same mechanism, which starts at a steep threshold c: p(mask_d = 1 | x) = sigmoid(6 (c_d - x_d) / s_d).

        c_d is the largest observed value of an entry, and s_d the standard deviation of its observed values. With
        `hides="small"`, c_d is the smallest and the sign is the other. Start the model beyond the threshold as well, by
        `likelihood.start(data.censored(x, mask, hides=hides))`. From a slope of zero, training often ends at another
        optimum, where values are missing nearly at random.

        Args:
            x: the training data, `(N, *event)`; the values where the mask is false have no effect.
            mask: their masks, `(N, *event)`.

        Raises:
            SettingError: the sign is to be learned.
        """
        if self.hides is None:
            raise SettingError("start_at_threshold requires a sign. Write SelfMasking(event_shape, hides='large').")
        sign, observed = (1 if self.hides == "large" else -1), mask.bool()
        values = sign * x.to(self.offset.dtype)
        counts = observed.sum(0).clamp_min(1)
        mean = values.where(observed, 0.0).sum(0) / counts
        spread = ((values - mean).where(observed, 0.0).square().sum(0) / counts).sqrt()
        top = values.where(observed, -math.inf).amax(0)
        rate = STEEPNESS / torch.where(spread > 0, spread, 1.0)
        self.raw_slope.data.copy_(rate + (-(-rate).expm1()).log())  # the inverse of softplus
        self.offset.data.copy_(rate * torch.where(top.isfinite(), top, 0.0))
        return self

    def extra_repr(self) -> str:
        return f"{self.event_shape}, hides={self.hides!r}"
