"""The columns of a data frame or an array: their cells as plain values, and which of them are missing."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyrovae.data.hugging_face import ArrowFrame, is_arrow
from pyrovae.errors import DataError

__all__ = ["columns_of", "dates_of", "is_frame", "missing_cells", "numbers_of", "plain_cells"]


def is_frame(data: Any) -> bool:
    """Whether something is a data frame.

    Args:
        data: anything.
    """
    return hasattr(data, "columns") and hasattr(data, "dtypes") and hasattr(data, "to_numpy")


def columns_of(frame: Any) -> Mapping[Any, Any]:
    """The columns of a data frame by name, or of an array `(N, D)` by index.

    Args:
        frame: a data frame, a `datasets.Dataset`, or an array.

    Raises:
        DataError: it is neither, or two columns have one name.
    """
    if is_arrow(frame):
        return ArrowFrame(frame)
    if is_frame(frame):
        names = list(frame.columns)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"The frame has two columns {twice!r}. Give each a name of its own.")
        return {name: frame[name] for name in names}
    if not isinstance(frame, np.ndarray) or frame.ndim != 2:
        what = f"an array of shape {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise DataError(f"A table is made from a pandas data frame or an array (N, D), got {what}.")
    return {place: frame[:, place] for place in range(frame.shape[1])}


def missing_cells(series: Any) -> np.ndarray:
    """Which cells of a column are missing, NaN, None, NaT or NA, bool `(N,)`.

    Args:
        series: the column.
    """
    if hasattr(series, "isna"):
        return np.asarray(series.isna())
    if series.dtype.kind in "fM":
        return np.isnan(series) if series.dtype.kind == "f" else np.isnat(series)
    if series.dtype.kind != "O":
        return np.zeros(len(series), dtype=bool)
    return np.fromiter((_is_missing(cell) for cell in series), dtype=bool, count=len(series))


def _is_missing(cell: Any) -> bool:
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, float) and cell != cell


def plain_cells(series: Any) -> np.ndarray:
    """The cells of a column, `(N,)`: floats where they are numbers, or else Python's own values.

    Args:
        series: the column.
    """
    kind = getattr(series.dtype, "kind", "O")
    if isinstance(series, np.ndarray):
        return series
    return series.to_numpy(dtype=float, na_value=np.nan) if kind in "iuf" else series.astype(object).to_numpy()


def dates_of(series: Any) -> np.ndarray | None:
    """The cells of a column of dates as those of numpy, in UTC, `(N,)`; None if it is no column of dates.

    Args:
        series: the column.
    """
    if getattr(series.dtype, "kind", "O") != "M":
        return None
    return series if isinstance(series, np.ndarray) else np.asarray(series.to_numpy(dtype="datetime64[ns]"))


def numbers_of(what: str, frame: Any) -> np.ndarray:
    """A data frame of numbers without gaps as an array `(N, D)` of floats.

    Args:
        what: the caller's name, for the error.
        frame: the data frame.

    Raises:
        DataError: a column has gaps or is no column of numbers; the message names it, and has the line to write.
    """
    columns = columns_of(frame)
    if not columns:
        raise DataError(f"{what} requires a data frame with columns, got one of shape {tuple(frame.shape)}.")
    encoded = "batch = pyrovae.data.Table.of(frame).encode(frame)"
    for name, series in columns.items():
        if getattr(series.dtype, "kind", "O") not in "biuf":
            raise DataError(
                f"{what} requires a data frame of numbers, got the column {name!r} of {series.dtype}. Write {encoded}, "
                "whose kinds of columns VAEImputer, VAEDetector and VAETransformer model."
            )
        gaps = int(missing_cells(series).sum())
        if gaps:
            raise DataError(
                f"{what} requires a data frame without gaps, got {gaps} missing cells in column {name!r}. Write "
                f"frame = pyrovae.inference.VAEImputer().fit_transform(frame); or {encoded}, with models.Masked(model)."
            )
    return np.stack([np.asarray(plain_cells(series), dtype=float) for series in columns.values()], 1)
