"""Counts of genes in cells, from an AnnData file: `.h5ad`."""

from pathlib import Path
from typing import Any

import numpy as np

from pyrovae.data.arrays import from_arrays
from pyrovae.data.dataset import Dataset
from pyrovae.data.limits import check_bytes
from pyrovae.errors import DataError, PyrovaeError
from pyrovae.imports import imported

__all__ = ["load_h5ad"]

LABELS = ("y", "label", "labels", "cell_type")
"""The columns of a file's cells that become `y`: the first that it has."""


def load_h5ad(name: str, path: Path, valid: int | None, test: int | None, max_bytes: int) -> Dataset:
    """Counts `x` `(N, G)`, their sums `total` `(N,)`, and `batch` and `y` where the file has them, shuffled and split.

    Sparse counts become dense: N G float32 numbers.

    Args:
        name: the data set's name.
        path: the file. The counts are the layer `counts`, or X where there is no such layer.
        valid: the number of cells held out for validation; a tenth by default.
        test: the number of cells held out for testing; a tenth by default.
        max_bytes: counts that take more bytes in memory, made dense, are refused.

    Raises:
        DataError: a file that is missing, broken or too large; values that are no counts; cells without a count,
            without a batch or without a label; or a split of the wrong size.
        MissingExtraError: anndata is not installed.
    """
    if not path.is_file():
        raise DataError(f"No such file: {path} (the working folder is {Path.cwd()}).")
    anndata = imported("anndata", f"load({name!r}) requires", "pyrovae[cells]")
    try:
        arrays, classes = _read(anndata, path, max_bytes)
    except PyrovaeError:
        raise
    except Exception as error:  # h5py and anndata raise all kinds for flipped or foreign bytes
        raise DataError(
            f"{path} cannot be read as .h5ad (empty, truncated, or of another program?): {type(error).__name__}: "
            f"{error}. Write adata.write_h5ad({path.name!r})."
        ) from error
    return from_arrays(name, str(path), {"all": arrays}, classes, valid, test)


def _read(anndata: Any, path: Path, max_bytes: int) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None]:
    """The arrays of a file, and the names of its labels."""
    backed = anndata.read_h5ad(path, backed="r")
    try:
        check_bytes(f"{path}, made dense,", 4 * backed.n_obs * backed.n_vars, max_bytes)
    finally:
        backed.file.close()
    cells = anndata.read_h5ad(path)
    place = "layers['counts']" if "counts" in cells.layers else "X"
    x = _counts(cells.layers.get("counts", cells.X), place, path)
    arrays: dict[str, np.ndarray] = {"x": x, "total": x.sum(-1)}
    classes: tuple[str, ...] | None = None
    if "batch" in cells.obs:
        arrays["batch"], _ = _numbered(cells.obs["batch"], "batch", path)
    if label := next((column for column in LABELS if column in cells.obs), None):
        arrays["y"], classes = _numbered(cells.obs[label], label, path)
    return arrays, classes


def _counts(matrix: Any, place: str, path: Path) -> np.ndarray:
    """A dense float32 matrix of counts, a row with at least one for each cell."""
    if matrix is None:
        raise DataError(f"{path} requires counts in X or layers['counts'], got neither. Write adata.X = counts.")
    x = np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float32)
    wrong = x[~((x >= 0) & (x == np.round(x)) & np.isfinite(x))]
    if wrong.size:
        raise DataError(
            f"{path} requires counts 0, 1, 2, ... in {place}, got {wrong[0]:g} ({wrong.size} of {x.size} values). "
            "Write the raw counts, not scaled and not as logarithms: adata.layers['counts'] = counts."
        )
    empty = int((x.sum(-1) == 0).sum())
    if empty:
        raise DataError(
            f"{path} requires a count in each cell, got {empty} of {len(x)} cells without any in {place}. Write "
            "adata[adata.X.sum(1) > 0].copy()."
        )
    return x


def _numbered(column: Any, name: str, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """A column as numbers from 0 on, by the order of the sorted names, and the names."""
    missing = int(column.isna().sum())
    if missing:
        raise DataError(
            f"{path} requires obs[{name!r}] of each cell, got {missing} of {len(column)} cells without. Write a name "
            f"for them, or drop them: adata[adata.obs[{name!r}].notna()].copy()."
        )
    known, numbers = np.unique(column.astype(str).to_numpy(dtype=str), return_inverse=True)
    return numbers.astype(np.int64), tuple(str(value) for value in known)
