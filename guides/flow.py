"""The flow guide: an inverse autoregressive flow of a diagonal normal."""

from collections.abc import Sequence

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_count
from pyrovae.guides.amortized import AmortizedGuide, check_width
from pyrovae.models.distributions.flow import Flow
from pyrovae.networks.bijections import InverseAutoregressive
from pyrovae.numeric import bounded_scale

__all__ = ["FlowGuide"]


class FlowGuide(AmortizedGuide):
    """q(z | x) = Normal(u; loc(x), scale(x)) / |det dz/du|, z = f_L(... f_1(u, h), h), with a context h(x).

    Draws are reparameterised, and their exact density is computed while they are drawn. The density of any other value
    takes D passes through each step. The mean, which `encode` uses, is the mean of 256 draws.

    Args:
        encoder: a network `(*, *event) -> (*, 2 D + C)`, which emits loc, raw scale and the context h.
        dim: the dimension of z, D, at least 2.
        context: the width of the context, C.
        layers: the number of inverse autoregressive steps, L.
        hidden: widths of the masked network of each step, each at least D.

    Raises:
        SettingError: `layers` is no count.
        ShapeError: D is below 2, or a masked layer is narrower than D; in a call, the encoder has another number of
            outputs.

    References: Kingma et al. (2016), arXiv:1606.04934.
    """

    def __init__(
        self, encoder: nn.Module, dim: int, context: int, layers: int = 2, hidden: Sequence[int] = (128,)
    ) -> None:
        super().__init__(encoder)
        self.dim, self.context, layers = dim, context, check_count("layers", layers, 0, 1000)
        self.steps = nn.ModuleList(InverseAutoregressive(dim, context, tuple(hidden)) for _ in range(layers))

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, 2 D + C)`, event shape `(D,)`."""
        wanted = 2 * self.dim + self.context
        check_width(self, params, f"{wanted}", params.shape[-1] == wanted)
        loc, raw_scale, context = params.split([self.dim, self.dim, self.context], -1)
        return Flow(dist.Normal(loc, bounded_scale(raw_scale)).to_event(1), list(self.steps), context)
