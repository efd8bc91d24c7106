"""Reference points near the posterior of each simulated data point, made from other simulations."""

import torch
from torch import Tensor

from pyrovae.data import Batch

__all__ = ["distances", "flattened", "references"]

WIDEST = 4096  # most numbers of a data point that the regression looks at
SHRINKAGE = 0.1  # of the ridge, for each column


def flattened(batch: Batch) -> Tensor:
    """The numbers of each data point as a vector, float64 `(N, P)` on the CPU; of very many, every k-th.

    Args:
        batch: named tensors.
    """
    columns = torch.cat([tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None] for tensor in batch.values()], 1)
    return columns[:, :: -(-columns.shape[1] // WIDEST)].double().nan_to_num(0.0, 0.0, 0.0).cpu()


def references(x: Tensor, others: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """A random point near E[z | x] for each simulation, `(N, D)`, and the scale of z about E[z | x], `(D,)`.

    E[z | x] is a ridge regression on other simulations. Given x, the point then says nothing about the z behind x, so
    the rank of its distance to that z among the distances to draws of p(z | x) is uniform, and ranks are independent.
    Because the point depends on x, draws that ignore x are further away than z is.

    Args:
        x: `(N, P)`.
        others: the x of other simulations, `(M, P)`.
        z: the latents of those, `(M, D)`.

    References: Lemos et al. (2023), arXiv:2302.03026, whose theorem requires references of this kind.
    """
    loc, scale = _regressed(others, z, x)
    return loc + scale * torch.randn_like(loc), scale


def _regressed(x: Tensor, z: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """The ridge regression of z on x at other points, and the standard deviation of its residuals."""
    mean, spread = x.mean(0), x.std(0, correction=0)
    spread = torch.where(spread > 1e-6 * mean.abs() + 1e-12, spread, torch.inf)
    x, at, middle = (x - mean) / spread, (at - mean) / spread, z.mean(0)
    size, columns = x.shape
    penalty = SHRINKAGE * columns
    if columns <= size:
        weight = torch.linalg.solve(x.T @ x + penalty * torch.eye(columns).double(), x.T @ (z - middle))
    else:
        weight = x.T @ torch.linalg.solve(x @ x.T + penalty * torch.eye(size).double(), z - middle)
    scale = (z - middle - x @ weight).std(0, correction=0).clamp_min(1e-6)
    return at @ weight + middle, scale


def distances(z: Tensor, near: Tensor, scale: Tensor) -> Tensor:
    """The distance of points to references, in units of their scale, `(*, B)`.

    Args:
        z: `(*, B, D)`.
        near: the references, `(B, D)`.
        scale: their scale, `(D,)`.
    """
    return ((z.double() - near) / scale).square().sum(-1)
