"""Maps of codes to the plane: by principal axes, t-SNE or UMAP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pyrovae.checks import check_choice, check_seed, check_tensor
from pyrovae.errors import ShapeError
from pyrovae.imports import imported

__all__ = ["METHODS", "Method", "Plane", "embed", "principal_plane"]

Method = Literal["pca", "tsne", "umap"]
"""How codes are mapped to the plane."""

METHODS: tuple[Method, ...] = get_args(Method)
"""The names of the methods."""


@dataclass(frozen=True)
class Plane:
    """A plane in the latent space: the codes z = origin + p1 u1 + p2 u2, where u1 and u2 are orthonormal.

    Attributes:
        origin: the code at (0, 0), `(D,)`.
        directions: u1 and u2, `(2, D)`.
        axes: the labels of the two axes.
    """

    origin: Tensor
    directions: Tensor
    axes: tuple[str, str]

    def project(self, z: Tensor) -> Tensor:
        """The points (p1, p2) of the plane that are nearest to codes, `(N, 2)`.

        Args:
            z: codes, `(N, D)`.
        """
        return (z - self.origin) @ self.directions.T

    def lift(self, points: Tensor) -> Tensor:
        """The codes at points of the plane, `(N, D)`.

        Args:
            points: (p1, p2), `(N, 2)`.
        """
        return self.origin + points @ self.directions

    def __str__(self) -> str:
        return f"a plane of codes with {len(self.origin)} dimensions; axes: {self.axes[0]}, {self.axes[1]}"

    __repr__ = __str__


def principal_plane(z: Tensor) -> Plane:
    """The plane through the mean of codes along their two principal axes.

    If the codes have two dimensions, it is the whole latent space, with axes z1 and z2 and the origin 0.

    Args:
        z: codes, `(N, D)`.

    Raises:
        DataError: NaN or infinities among the codes.
        ShapeError: z is not `(N, D)` with N > 0 and D >= 2.
    """
    _check_codes(z)
    if z.shape[1] == 2:
        return Plane(z.new_zeros(2), torch.eye(2).to(z), ("z₁", "z₂"))
    centred = z - z.mean(0)
    variances, axes = torch.linalg.eigh(centred.T @ centred)
    share = variances.clamp_min(0) / variances.sum().clamp_min(1e-30)
    first, second = (f"principal axis {i} ({share[-i]:.0%} of variance)" for i in (1, 2))
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))  # an eigenvector has no sign, so this one is positive
    return Plane(z.mean(0), (axes * largest.sign())[:, [-1, -2]].T, (first, second))


def embed(sets: Sequence[Tensor], method: Literal["tsne", "umap"], *, seed: int = 0) -> list[Tensor]:
    """The points of several sets of codes in one map, `(N, 2)` for each set.

    The map is fitted on all sets together and has no value at other codes. In such a map, distances within a cluster
    mean more than distances between clusters, and areas mean nothing.

    Args:
        sets: sets of codes, `(N, D)` each.
        method: `"tsne"` or `"umap"`.
        seed: the seed of the fit.

    Raises:
        DataError: NaN or infinities among the codes.
        ShapeError: a set is not `(N, D)` with D >= 2, or there are fewer than 4 codes in all.
        MissingExtraError: scikit-learn or umap-learn is not installed.
        SettingError: an unknown method, or a seed that is no whole number from 0 to 2^32 - 1.

    References: van der Maaten & Hinton (2008), Visualizing data using t-SNE; McInnes et al. (2018), arXiv:1802.03426.
    """
    method, seed = check_choice("method", method, tuple(_FITS)), check_seed("seed", seed)
    for z in sets:
        _check_codes(z)
    codes = torch.cat([z.detach().float().cpu() for z in sets])
    if len(codes) < 4:
        raise ShapeError(f"{method} requires at least 4 codes, got {len(codes)}. Map them with method='pca'.")
    return list(torch.as_tensor(_FITS[method](codes.numpy(), seed)).split([len(z) for z in sets]))


def _tsne(codes: Any, seed: int) -> Any:
    manifold = imported("sklearn.manifold", "method='tsne' requires", "pyrovae[maps]")
    perplexity = min(30.0, (len(codes) - 1) / 3)
    return manifold.TSNE(2, init="pca", random_state=seed, perplexity=perplexity).fit_transform(codes)


def _umap(codes: Any, seed: int) -> Any:
    umap = imported("umap", "method='umap' requires", "pyrovae[maps]")
    # With more than one job UMAP ignores the seed.
    return umap.UMAP(n_neighbors=min(15, len(codes) - 1), random_state=seed, n_jobs=1).fit_transform(codes)


_FITS: dict[str, Callable[[Any, int], Any]] = {"tsne": _tsne, "umap": _umap}


def _check_codes(z: Tensor) -> None:
    z = check_tensor("a map", z, "(N, D)", finite=True)
    if z.dim() != 2 or z.shape[1] < 2 or len(z) == 0:
        raise ShapeError(f"A map requires codes (N, D) with N > 0 and D >= 2, got {tuple(z.shape)}.")
