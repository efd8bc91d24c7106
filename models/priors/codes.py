"""Priors of grids of codes, whose vectors a codebook gives: uniform, and learned one code after the other."""

import pyro.distributions as dist
from torch import nn

from pyrovae.models.distributions.codes import CausalCodes, CodeVectors
from pyrovae.networks.codebooks import Codebook, Levels
from pyrovae.networks.shape import Shape, as_shape
from pyrovae.recorded import Recorded

__all__ = ["CausalCodePrior", "UniformCodePrior"]


class UniformCodePrior(Recorded, nn.Module):
    """p(z) = K^-n at z = e_c for each grid c in {1, ..., K}^n, and z of shape `(D, *grid)`.

    Args:
        codebook: the vectors e_1, ..., e_K, `(K, D)`.
        grid: the shape of the grid of n codes, such as `(7, 7)`, or `16`.

    References: van den Oord et al. (2017), arXiv:1711.00937.
    """

    def __init__(self, codebook: Codebook | Levels, grid: Shape) -> None:
        super().__init__()
        self.codebook, self.grid = codebook, as_shape(grid)

    def forward(self) -> CodeVectors:
        logits = self.codebook.vectors.new_zeros(self.codebook.size).expand(*self.grid, -1)
        return CodeVectors(dist.Categorical(logits=logits).to_event(len(self.grid)), self.codebook)

    def extra_repr(self) -> str:
        return f"grid={self.grid}"


class CausalCodePrior(Recorded, nn.Module):
    """p(z) = prod_i p(c_i | c_1, ..., c_(i-1)) at z = e_c, with z of shape `(D, *grid)`; codes in the order of rows.

    Train it with the pair, or afterwards: put it into the model of a trained pair, and freeze all else.

        codebook = model.prior.codebook
        model.requires_grad_(False), guide.requires_grad_(False)
        model.prior = CausalCodePrior(CausalTransformer(codebook, 16), codebook, 16)
        fit(model, guide, data)

    Args:
        network: from codes, int64 `(*, n)`, to logits `(*, n, K)`, the i-th from the codes before it alone, such as
            `networks.CausalTransformer(codebook, n)`.
        codebook: the vectors e_1, ..., e_K, `(K, D)`.
        grid: the shape of the grid of n codes.

    References: van den Oord et al. (2017), arXiv:1711.00937, for a prior that is learned afterwards.
    """

    def __init__(self, network: nn.Module, codebook: Codebook | Levels, grid: Shape) -> None:
        super().__init__()
        self.network, self.codebook, self.grid = network, codebook, as_shape(grid)

    def forward(self) -> CodeVectors:
        return CodeVectors(CausalCodes(self.network, self.grid), self.codebook)

    def extra_repr(self) -> str:
        return f"grid={self.grid}"
