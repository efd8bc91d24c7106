"""Data frames from numbers: types, categories, gaps, ranges and decimals as in the frame that was learned from."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyrovae.data.columns import is_frame, missing_cells
from pyrovae.data.kinds import Column
from pyrovae.errors import DataError

__all__ = ["GAP", "as_frame", "decimals_of", "typed_column", "with_gap_columns"]

GAP = "{} is missing"
"""The name of the column that says whether a cell of another one is missing."""

_MOST_DECIMALS = 8


def as_frame(rows: Any) -> Any:
    """A data frame as it is, or that of an array `(N, D)`, whose columns have their places as names.

    Args:
        rows: either.
    """
    import pandas

    return rows if is_frame(rows) else pandas.DataFrame(rows)


def with_gap_columns(frame: Any, gaps: Sequence[Any]) -> Any:
    """The frame with one more column for each that may have gaps: whether its cell is missing.

    Args:
        frame: a data frame.
        gaps: the names of the columns that may have gaps.

    Raises:
        DataError: the frame has a column of such a name already.
    """
    whole = frame.copy()
    for name in gaps:
        if GAP.format(name) in frame.columns:
            raise DataError(
                f"VAESynthesizer adds a column {GAP.format(name)!r} for the gaps of {name!r}, got a frame with one. "
                f"Rename it: frame.rename(columns={{{GAP.format(name)!r}: ...}})."
            )
        whole[GAP.format(name)] = missing_cells(frame[name])
    return whole


def decimals_of(series: Any) -> int:
    """The number of decimals of a column of numbers; -1 where they are more than 8, or the column holds no floats.

    Args:
        series: the column.
    """
    if getattr(series.dtype, "kind", "O") != "f":
        return -1
    numbers = series.to_numpy(dtype=float, na_value=np.nan)
    numbers = numbers[~np.isnan(numbers)]
    for decimals in range(_MOST_DECIMALS + 1):
        if np.allclose(numbers, numbers.round(decimals), rtol=1e-9, atol=0):
            return decimals
    return -1


def typed_column(values: np.ndarray, missing: np.ndarray, column: Column, dtype: str, decimals: int) -> Any:
    """A column of a data frame with the type and the decimals of the one that was learned from.

    Args:
        values: `(N,)`, as `Column.decode` gives them.
        missing: which cells are missing, bool `(N,)`.
        column: its kind and its values.
        dtype: the name of its type.
        decimals: how many decimals numbers have; -1 for all.
    """
    import pandas

    if dtype == "category":
        ordered = column.kind == "ordinal"
        series = pandas.Series(pandas.Categorical(values, categories=list(column.values), ordered=ordered))
        return series.mask(missing) if missing.any() else series
    if column.kind == "date":
        dates = pandas.Series(values)
        dates = dates.dt.tz_localize("UTC").dt.tz_convert(dtype[:-1].split(", ")[1]) if ", " in dtype else dates
        return dates.mask(missing).astype(dtype)
    if dtype.lower().startswith(("int", "uint")):
        values = np.rint(values.astype(float))
    elif decimals >= 0 and not column.values:
        values = values.round(decimals)
    series = pandas.Series(values, dtype=None if dtype != "object" else object)
    return (series.astype(object).mask(missing) if missing.any() else series).astype(dtype)
