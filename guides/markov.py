"""The guide of the deep Markov model: q(z | x) = prod_t q(z_t | z_(t-1), x_t ... x_T)."""

from collections.abc import Sequence

import pyro
import torch
from pyro.distributions import Normal, TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_count
from pyrovae.models.distributions.flow import Flow
from pyrovae.models.distributions.markov import Markov
from pyrovae.models.program import Program
from pyrovae.networks.bijections import InverseAutoregressive
from pyrovae.networks.recurrent import going_on
from pyrovae.numeric import bounded_scale
from pyrovae.recorded import Recorded

__all__ = ["Combiner", "FlowCombiner", "MarkovGuide"]


class Combiner(Recorded, nn.Module):
    """q(z_t | z_(t-1), h_t) = Normal(z_t; loc(c), scale(c)), c = (tanh(W z_(t-1) + b) + h_t) / 2.

    Args:
        dim: the dimension of z_t, D.
        context: the width of h_t, H.

    References: Krishnan et al. (2017), arXiv:1609.09869, section 4.
    """

    def __init__(self, dim: int, context: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(dim, context), nn.Linear(context, 2 * dim)

    def forward(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | z_(t-1), h_t), given z = z_(t-1) `(*, D)` and h = h_t `(*, H)`."""
        loc, raw_scale = self.outer((torch.tanh(self.inner(z)) + h) / 2).chunk(2, -1)
        return Normal(loc, bounded_scale(raw_scale)).to_event(1)


class FlowCombiner(Recorded, nn.Module):
    """q(z_t | z_(t-1), h_t): z_t = f_L(... f_1(u, h_t), h_t), u ~ combiner(z_(t-1), h_t), f inverse autoregressive.

    Args:
        combiner: the distribution of u, a diagonal normal such as `Combiner`.
        dim: the dimension of z_t, D, at least 2.
        context: the width of h_t, H.
        layers: the number of inverse autoregressive steps, L.
        hidden: widths of the masked network of each step, each at least D.

    Raises:
        SettingError: `layers` is no count.
        ShapeError: D is below 2, or a masked layer is narrower than D.

    References: Kingma et al. (2016), arXiv:1606.04934.
    """

    def __init__(
        self, combiner: nn.Module, dim: int, context: int, layers: int = 2, hidden: Sequence[int] = (128,)
    ) -> None:
        super().__init__()
        self.combiner, layers = combiner, check_count("layers", layers, 0, 1000)
        self.steps = nn.ModuleList(InverseAutoregressive(dim, context, tuple(hidden)) for _ in range(layers))

    def forward(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | z_(t-1), h_t), given z = z_(t-1) `(*, D)` and h = h_t `(*, H)`."""
        return Flow(self.combiner(z, h), list(self.steps), h)


class MarkovGuide(Program):
    """q(z | x) = prod_t q(z_t | z_(t-1), h_t), with h = encoder(x) and a learned z_0.

    The posterior of a Markov model has this form, with h_t a function of x_t, ..., x_T: given z_(t-1), the data before
    t are independent of z_t.

    Args:
        encoder: a network from x `(*, T, *event)` and within `(*, T)` to h `(*, T, H)`, such as `BackwardRNN`.
        combiner: `combiner(z_(t-1), h_t) -> q(z_t | z_(t-1), h_t)`, such as `Combiner`.
        dim: the dimension of z_t, D.

    Call it with `x` of shape `(B, T, *event)` and `within`, bool `(B, T)`, true up to the end of each sequence; without
    `within`, every sequence has T steps.

    References: Krishnan et al. (2017), arXiv:1609.09869, the guide DKS.
    """

    def __init__(self, encoder: nn.Module, combiner: nn.Module, dim: int) -> None:
        super().__init__()
        self.encoder, self.combiner = encoder, combiner
        self.start = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, within: Tensor | None = None) -> Tensor:
        within = going_on(x, within, x.shape[:2])
        with pyro.plate("data", len(x), dim=-1):
            h = self.encoder(x, within)
            return pyro.sample("z", Markov(self.combiner, self.start, within, h))  # z ~ prod_t q(z_t | z_(t-1), x)
