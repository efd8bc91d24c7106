"""The uniform prior on the unit sphere."""

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_count
from pyrovae.models.distributions.sphere import SphericalUniform
from pyrovae.networks.shape import LARGEST
from pyrovae.recorded import Recorded

__all__ = ["UniformOnSphere"]


class UniformOnSphere(Recorded, nn.Module):
    """p(z) = Gamma(D/2) / (2 pi^(D/2)) for z of length 1, `(D,)`: every direction is equally probable.

    The sphere of R^D has D - 1 dimensions. Its guides are `guides.VonMisesFisherGuide` and
    `guides.PowerSphericalGuide`.

    Args:
        dim: the length D of the vector z, at least 2.

    Raises:
        SettingError: D is below 2.

    References: Davidson et al. (2018), arXiv:1804.00891.
    """

    centre: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = check_count("dim", dim, 2, LARGEST)
        self.register_buffer("centre", torch.zeros(dim), persistent=False)

    def forward(self) -> TorchDistribution:
        return SphericalUniform(self.dim, dtype=self.centre.dtype, device=self.centre.device)

    def extra_repr(self) -> str:
        return f"{self.dim}"
