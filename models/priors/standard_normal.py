"""The standard normal prior: p(z) = Normal(z; 0, I)."""

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_count
from pyrovae.networks.shape import LARGEST
from pyrovae.recorded import Recorded

__all__ = ["StandardNormal"]


class StandardNormal(Recorded, nn.Module):
    """p(z) = Normal(z; 0, I), with z of shape `(D,)`.

    Args:
        dim: the latent dimension D.

    References: Kingma & Welling (2014), arXiv:1312.6114.
    """

    loc: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = check_count("dim", dim, most=LARGEST)
        self.register_buffer("loc", torch.zeros(dim), persistent=False)

    def forward(self) -> TorchDistribution:
        return dist.Normal(self.loc, torch.ones_like(self.loc)).to_event(1)

    def extra_repr(self) -> str:
        return f"{self.dim}"
