"""The exact encoder of a linear model with gaps, as a network."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pyrovae.checks import check_count
from pyrovae.networks.dense import MLP
from pyrovae.networks.shape import leading
from pyrovae.numeric import bounded_scale, raw_scale
from pyrovae.recorded import Recorded

__all__ = ["FactorEncoder", "FactorPosterior"]


class FactorPosterior(Recorded, nn.Module):
    """The parameters of p(z | x_observed) for p(x | z) = Normal(loc + W z, scale), `(*, 2 D) -> (*, P)`.

    The input is x with 0 in its gaps, then the mask. p(z | x_observed) is normal with precision
    1 + sum_d mask_d w_d w_d' / scale_d^2. Its mean and raw scales, 2 K numbers, are those that a `NormalGuide` takes;
    with `full`, mean and Cholesky factor, 2 K + K (K - 1) / 2 numbers, are those of a `FullNormalGuide`, which is then
    exact. loc, W and scale are parameters: training may move them away from those of the decoder.

    Args:
        width: D, the number of columns.
        latent_dim: K, the number of factors.
        full: whether to emit the Cholesky factor of the covariance.

    Raises:
        SettingError: a number below 1.
        ShapeError: in a call, the last dimension of the input is not 2 D.
    """

    order: Tensor

    def __init__(self, width: int, latent_dim: int, *, full: bool = False) -> None:
        super().__init__()
        self.width, self.latent_dim = check_count("width", width), check_count("latent_dim", latent_dim)
        self.full = full
        self.loc = nn.Parameter(torch.zeros(width))
        self.loadings = nn.Parameter(torch.zeros(width, latent_dim))
        self.raw_scale = nn.Parameter(torch.zeros(width))
        self.register_buffer("order", _order(latent_dim), persistent=False)

    @property
    def size(self) -> int:
        """P."""
        return self.latent_dim + (len(self.order) if self.full else self.latent_dim)

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
        eye = torch.eye(self.latent_dim, dtype=x.dtype, device=x.device)
        precision = (mask @ outer).reshape(*lead, self.latent_dim, self.latent_dim) + eye
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
        projected = ((x - self.loc) / scale * mask) @ unit
        mean = (covariance @ projected.unsqueeze(-1)).squeeze(-1)
        return torch.cat([mean, self._spread(covariance)], -1)

    def _spread(self, covariance: Tensor) -> Tensor:
        if not self.full:
            return raw_scale(covariance.diagonal(dim1=-2, dim2=-1).sqrt())
        root = torch.linalg.cholesky(covariance)
        diagonal = torch.diag_embed(raw_scale(root.diagonal(dim1=-2, dim2=-1)))
        return (root.tril(-1) + diagonal).flatten(-2)[..., self.order]


class FactorEncoder(Recorded, nn.Module):
    """The posterior of factor analysis plus a dense network that starts at 0, `(*, 2 D) -> (*, P)`.

    Both see x with 0 in its gaps, then the mask. An encoder of rows with gaps can start at that of the linear model.

    Args:
        width: D, the number of columns.
        latent_dim: K, the number of factors.
        hidden: the widths of the hidden layers.
        full: as in `FactorPosterior`.

    Raises:
        SettingError: a number below 1.
        ShapeError: in a call, the last dimension of the input is not 2 D.
    """

    def __init__(self, width: int, latent_dim: int, hidden: Sequence[int] = (128, 128), *, full: bool = False) -> None:
        super().__init__()
        self.linear = FactorPosterior(width, latent_dim, full=full)
        self.mlp = MLP(2 * width, self.linear.size, hidden, nn.Tanh)
        with torch.no_grad():
            last = cast(nn.Linear, self.mlp.layers[-1])
            last.weight.zero_(), last.bias.zero_()

    def start_at(self, loc: Tensor, loadings: Tensor, scale: Tensor) -> None:
        """Set the linear model.

        Args:
            loc, scale: `(D,)`.
            loadings: W, `(D, K)`.
        """
        self.linear.start_at(loc, loadings, scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.mlp(x)


def _order(size: int) -> Tensor:
    """Where each parameter of the Cholesky factor of a `FullNormalGuide` stands in the flat `(K, K)` matrix."""
    places = torch.arange(size * (size + 1) // 2)
    square = torch.cat([places[size:], places.flip(0)]).reshape(size, size)
    rows, columns = torch.tril_indices(size, size)
    return (rows * size + columns)[square[rows, columns].argsort()]
