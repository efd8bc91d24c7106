"""The exact encoder of a linear model with gaps, as a network."""

from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.checks import check_count
from pyrovae.networks.shape import leading
from pyrovae.numeric import bounded_scale, raw_scale
from pyrovae.recorded import Recorded

__all__ = ["FactorPosterior"]


class FactorPosterior(Recorded, nn.Module):
    """Mean and raw scale of p(z_k | x_observed), `(*, 2 D) -> (*, 2 K)`, of p(x | z) = Normal(loc + W z, scale).

    The input is x with 0 in its gaps, then the mask. p(z | x_observed) is normal with precision
    1 + sum_d mask_d w_d w_d' / scale_d^2, and the scales are those of its marginals. loc, W and scale are parameters:
    training may move them away from those of the decoder.

    Args:
        width: D, the number of columns.
        latent_dim: K, the number of factors.

    Raises:
        SettingError: a number below 1.
        ShapeError: in a call, the last dimension of the input is not 2 D.
    """

    def __init__(self, width: int, latent_dim: int) -> None:
        super().__init__()
        self.width, self.latent_dim = check_count("width", width), check_count("latent_dim", latent_dim)
        self.loc = nn.Parameter(torch.zeros(width))
        self.loadings = nn.Parameter(torch.zeros(width, latent_dim))
        self.raw_scale = nn.Parameter(torch.zeros(width))

    @torch.no_grad()
    def start_at(self, loc: Tensor, loadings: Tensor, scale: Tensor) -> None:
        """Set the parameters.

        Args:
            loc, scale: `(D,)`.
            loadings: W, `(D, K)`.
        """
        self.loc.copy_(loc), self.loadings.copy_(loadings), self.raw_scale.copy_(raw_scale(scale))

    def forward(self, x: Tensor) -> Tensor:
        lead = leading(x, (2 * self.width,), "FactorPosterior")
        x, mask = x.chunk(2, -1)
        scale = bounded_scale(self.raw_scale)
        unit = self.loadings / scale[:, None]
        outer = (unit[:, :, None] * unit[:, None, :]).flatten(1)
        precision = (mask @ outer).reshape(*lead, self.latent_dim, self.latent_dim) + _eye(unit)
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
        projected = ((x - self.loc) / scale * mask) @ unit
        mean = (covariance @ projected.unsqueeze(-1)).squeeze(-1)
        return torch.cat([mean, raw_scale(covariance.diagonal(dim1=-2, dim2=-1).sqrt())], -1)


def _eye(like: Tensor) -> Any:
    return torch.eye(like.shape[1], dtype=like.dtype, device=like.device)
