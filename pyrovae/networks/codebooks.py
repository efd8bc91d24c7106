"""Codebooks: K vectors e_1, ..., e_K of D numbers, and the code of the vector that is nearest to a given one.

A grid of codes has its vectors in the channels, as an image has: `(*, D, *grid)`. A codebook itself takes and returns
vectors along the last dimension; `vectors_last` and `vectors_first` go from one order to the other.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyrovae.checks import check_count, check_counts, check_fraction
from pyrovae.networks.shape import LARGEST
from pyrovae.recorded import Recorded

__all__ = ["Codebook", "Levels", "vectors_first", "vectors_last"]


class Codebook(Recorded, nn.Module):
    """K free vectors: `codebook(codes) -> e_codes`, from int64 `(*)` to `(*, D)`.

    With a `decay`, e_k follows the inputs whose nearest vector it is: e_k = m_k / n_k, where n_k is a moving average of
    the share of the inputs of a batch with code k, and m_k that of their sum, both per input. A code is dead if
    n_k < revive / K, and starts again at a random input of the batch. All codes are dead before the first batch, so
    the codebook starts among its inputs.

    Args:
        size: the number of vectors, K, at least 2.
        dim: how many numbers a vector has, D.
        decay: the decay of the moving averages per step, in [0, 1); None makes the vectors a parameter, for gradients.
        revive: the share of 1 / K below which a code is dead, in [0, 1]; 0 revives none.

    Attributes:
        size, dim, decay, revive: as given.
        vectors: e_1, ..., e_K, `(K, D)`.
        shares, sums: n, `(K,)`, and m, `(K, D)`.
        commitment: the weight of |h - e|^2 that fits such vectors, 0.25.

    Raises:
        SettingError: a size, a decay or a share without a meaning.

    References: van den Oord et al. (2017), arXiv:1711.00937, appendix A.1, for the moving averages; Dhariwal et al.
    (2020), arXiv:2005.00341, for codes that start again.
    """

    commitment = 0.25
    vectors: Tensor
    shares: Tensor
    sums: Tensor

    def __init__(self, size: int, dim: int, decay: float | None = 0.99, revive: float = 0.1) -> None:
        super().__init__()
        self.size, self.dim = check_count("size", size, 2, LARGEST), check_count("dim", dim, most=LARGEST)
        self.decay = None if decay is None else check_fraction("decay", decay, one=False, write=0.99)
        self.revive = check_fraction("revive", revive, write=0.1)
        vectors = torch.randn(self.size, self.dim)
        if self.decay is None:
            self.vectors = nn.Parameter(vectors)
            return
        self.register_buffer("vectors", vectors)
        self.register_buffer("shares", torch.zeros(self.size))
        self.register_buffer("sums", torch.zeros(self.size, self.dim))

    def forward(self, codes: Tensor) -> Tensor:
        return functional.embedding(codes, self.vectors)

    @torch.no_grad()
    def codes(self, h: Tensor) -> Tensor:
        """The code of the nearest vector, argmin_k |h - e_k|, int64 `(*)`.

        Args:
            h: vectors, `(*, D)`.
        """
        return (self.vectors.square().sum(-1) - 2 * h @ self.vectors.T).argmin(-1)

    def bounded(self, h: Tensor) -> Tensor:
        """The vectors as they are: free vectors need no bounds.

        Args:
            h: vectors, `(*, D)`.
        """
        return h

    @torch.no_grad()
    def follow(self, h: Tensor) -> None:
        """Move the vectors towards the inputs of a batch, and revive dead codes; a codebook without a decay stays.

        Args:
            h: the inputs, `(*, D)`.
        """
        if self.decay is None:
            return
        rows = h.detach().reshape(-1, self.dim)
        chosen = functional.one_hot(self.codes(rows), self.size).to(rows)
        self.shares.lerp_(chosen.mean(0), 1 - self.decay)
        self.sums.lerp_(chosen.T @ rows / len(rows), 1 - self.decay)
        dead = self.shares < self.revive / self.size
        order = torch.randperm(len(rows), device=rows.device)
        fresh = rows[order[torch.arange(self.size, device=rows.device) % len(rows)]]
        self.shares.masked_fill_(dead, 1 / self.size)
        self.sums.copy_(torch.where(dead.unsqueeze(-1), fresh / self.size, self.sums))
        self.vectors.copy_(
            torch.where(self.shares.unsqueeze(-1) > 0, self.sums / self.shares.unsqueeze(-1), self.vectors)
        )

    def extra_repr(self) -> str:
        return f"{self.size}, {self.dim}, decay={self.decay}, revive={self.revive}"


class Levels(Recorded, nn.Module):
    """A fixed grid in [-1, 1]^D, with L_d equidistant levels in dimension d: K = L_1 ... L_D codes, nothing to learn.

    The first dimension changes fastest: codes 0 and 1 differ in dimension 0.

    Args:
        levels: L_1, ..., L_D, each at least 2.

    Attributes:
        levels: as given, a tuple.
        size, dim: K and D.
        vectors: all points of the grid, `(K, D)`.
        commitment: 0: inputs are bounded and cannot run away from the grid.

    Raises:
        SettingError: a number of levels below 2.

    References: Mentzer et al. (2023), Finite scalar quantization, arXiv:2309.15505.
    """

    commitment = 0.0
    decay: float | None = None
    vectors: Tensor
    last: Tensor
    strides: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = check_counts("levels", levels, 2, write=[8, 6, 5])
        self.size, self.dim = check_count("the product of levels", math.prod(self.levels), most=2**24), len(self.levels)
        strides = [math.prod(self.levels[:d]) for d in range(self.dim)]
        last = torch.tensor([count - 1.0 for count in self.levels])
        places = torch.arange(self.size).unsqueeze(-1) // torch.tensor(strides) % torch.tensor(self.levels)
        self.register_buffer("last", last, persistent=False)
        self.register_buffer("strides", torch.tensor(strides), persistent=False)
        self.register_buffer("vectors", 2 * places / last - 1, persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        """The points of codes, from int64 `(*)` to `(*, D)`."""
        return functional.embedding(codes, self.vectors)

    @torch.no_grad()
    def codes(self, h: Tensor) -> Tensor:
        """The code of the nearest point, int64 `(*)`: each dimension is rounded to its nearest level.

        Args:
            h: vectors, `(*, D)`.
        """
        places = ((h + 1) / 2 * self.last).round().clamp_min(0).minimum(self.last)
        return (places.long() * self.strides).sum(-1)

    def bounded(self, h: Tensor) -> Tensor:
        """tanh(h), in the range of the levels.

        Args:
            h: vectors, `(*, D)`.
        """
        return h.tanh()

    def follow(self, h: Tensor) -> None:
        """Nothing: the levels are fixed.

        Args:
            h: the inputs, `(*, D)`.
        """

    def extra_repr(self) -> str:
        return f"{list(self.levels)}"


def vectors_last(z: Tensor, grid_dims: int) -> Tensor:
    """From `(*, D, *grid)` to `(*, *grid, D)`.

    Args:
        z: vectors in the channels.
        grid_dims: the number of dimensions of the grid.
    """
    return z.movedim(-1 - grid_dims, -1)


def vectors_first(z: Tensor, grid_dims: int) -> Tensor:
    """From `(*, *grid, D)` to `(*, D, *grid)`.

    Args:
        z: vectors along the last dimension.
        grid_dims: the number of dimensions of the grid.
    """
    return z.movedim(-1, -1 - grid_dims)
