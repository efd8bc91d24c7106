"""Maps of codes to the plane: by principal axes, t-SNE or UMAP."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pyrovae.errors import MissingExtraError, PyrovaeError, ShapeError

__all__ = ["Method", "Plane", "embed", "principal_plane"]

Method = Literal["pca", "tsne", "umap"]


class Plane(NamedTuple):
    """The codes z = origin + p1 u1 + p2 u2, u1 and u2 orthonormal.

    Attributes:
        origin: `(D,)`.
        directions: u1 and u2, `(2, D)`.
        axes: what to write at the two axes.
    """

    origin: Tensor
    directions: Tensor
    axes: tuple[str, str]

    def project(self, z: Tensor) -> Tensor:
        """The nearest points of the plane, `(N, D)` to `(N, 2)`."""
        return (z - self.origin) @ self.directions.T

    def lift(self, points: Tensor) -> Tensor:
        """The codes at points of the plane, `(N, 2)` to `(N, D)`."""
        return self.origin + points @ self.directions


def principal_plane(z: Tensor) -> Plane:
    """The plane of the two principal axes of codes `(N, D)`; of two dimensions the whole, with z1 and z2 as its axes.

    Raises:
        ShapeError: z is not `(N, D)` with N > 0 and D >= 2.
    """
    _check_codes(z)
    if z.shape[1] == 2:
        return Plane(z.new_zeros(2), torch.eye(2).to(z), ("z₁", "z₂"))
    centred = z - z.mean(0)
    variances, axes = torch.linalg.eigh(centred.T @ centred)
    share = variances.clamp_min(0) / variances.sum().clamp_min(1e-30)
    first, second = (f"principal axis {i} ({share[-i]:.0%} of variance)" for i in (1, 2))
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))  # made positive: an eigenvector has no sign
    return Plane(z.mean(0), (axes * largest.sign())[:, [-1, -2]].T, (first, second))


def embed(sets: Sequence[Tensor], method: Literal["tsne", "umap"], *, seed: int = 0) -> list[Tensor]:
    """One map for all sets of codes, each `(N, D)` to `(N, 2)`. It is fitted on all of them: it has no other domain.

    Distances within a cluster tell more than those between clusters, and areas tell nothing.

    Args:
        sets: the sets of codes.
        method: `"tsne"` or `"umap"`.
        seed: of the fit.

    Raises:
        ShapeError: a set is not `(N, D)` with D >= 2, or there are fewer than 4 codes in all.
        MissingExtraError: scikit-learn or umap-learn is not installed.
        PyrovaeError: an unknown method.

    References: van der Maaten & Hinton (2008), Visualizing data using t-SNE; McInnes et al. (2018), arXiv:1802.03426.
    """
    if method not in _FITS:
        raise PyrovaeError(f"a map is made by one of {', '.join(map(repr, ('pca', *_FITS)))}, got {method!r}.")
    for z in sets:
        _check_codes(z)
    codes = torch.cat([z.detach().float().cpu() for z in sets])
    if len(codes) < 4:
        raise ShapeError(f"{method} requires at least 4 codes, got {len(codes)}. Map them with method='pca'.")
    return list(torch.as_tensor(_FITS[method](codes.numpy(), seed)).split([len(z) for z in sets]))


def _tsne(codes: Any, seed: int) -> Any:
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise _missing("scikit-learn") from error
    perplexity = min(30.0, (len(codes) - 1) / 3)
    return TSNE(2, init="pca", random_state=seed, perplexity=perplexity).fit_transform(codes)


def _umap(codes: Any, seed: int) -> Any:
    try:
        from umap import UMAP
    except ImportError as error:
        raise _missing("umap-learn") from error
    # One job: with more there is no seed.
    return UMAP(n_neighbors=min(15, len(codes) - 1), random_state=seed, n_jobs=1).fit_transform(codes)


_FITS: dict[str, Callable[[Any, int], Any]] = {"tsne": _tsne, "umap": _umap}


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError(f"this map is made by {package}, which is not installed: pip install 'pyrovae[maps]'")


def _check_codes(z: Tensor) -> None:
    if z.dim() != 2 or z.shape[1] < 2 or len(z) == 0:
        raise ShapeError(f"a map requires codes (N, D) with N > 0 and D >= 2, got {tuple(z.shape)}.")
