"""The flow prior: a standard normal after learned bijections."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_count, check_counts
from pyrovae.models.distributions.flow import Flow
from pyrovae.networks.bijections import Coupling
from pyrovae.networks.shape import LARGEST
from pyrovae.recorded import Recorded

__all__ = ["FlowPrior"]


class FlowPrior(Recorded, nn.Module):
    """p(z) = Normal(u; 0, I) / |det dz/du|, z = f_L(... f_1(u)), where each f is a `Coupling` as in RealNVP.

    Args:
        dim: the latent dimension D, at least 2.
        layers: the number of couplings, L.
        hidden: widths of the couplings' networks.

    Raises:
        ShapeError: D is below 2.

    References: Dinh et al. (2017), arXiv:1605.08803; Chen et al. (2017), arXiv:1611.02731, for flows as priors.
    """

    loc: Tensor

    def __init__(self, dim: int, layers: int = 4, hidden: Sequence[int] = (128,)) -> None:
        super().__init__()
        layers, hidden = check_count("layers", layers, 0, 1000), check_counts("hidden", hidden, fewest=0)
        self.register_buffer("loc", torch.zeros(check_count("dim", dim, most=LARGEST)), persistent=False)
        self.steps = nn.ModuleList(Coupling(dim, hidden) for _ in range(layers))

    def forward(self) -> TorchDistribution:
        base = dist.Normal(self.loc, torch.ones_like(self.loc)).to_event(1)
        return Flow(base, list(self.steps))
