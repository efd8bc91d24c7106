"""Data frames with columns of several kinds and missing values, as numbers and back."""

import difflib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.checks import check_tensor
from pyrovae.data.dataset import Batch
from pyrovae.data.masks import incomplete
from pyrovae.errors import DataError, ShapeError

__all__ = ["KINDS", "Column", "Table"]

KINDS = ("real", "positive", "count", "ordinal", "category")
"""The kinds of columns."""


@dataclass(frozen=True)
class Column:
    """One column: how its values become numbers, and how numbers become its values.

    Attributes:
        name: its name in the data frame; its index in an array.
        kind: `real` (standardised), `positive` and `count` (unchanged), `ordinal` and `category` (numbered from 0).
        values: the values of an ordinal or a category, in order.
        loc, scale: mean and standard deviation of a real column; the scale of a constant column is 0.
    """

    name: Any
    kind: str
    values: tuple[Any, ...] = ()
    loc: float = 0.0
    scale: float = 1.0

    def encode(self, cells: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """The column as numbers, NaN where a cell is missing.

        Args:
            cells: the values, `(N,)`.
            missing: bool `(N,)`, true where a cell is missing.

        Raises:
            DataError: a value that is unknown, no number, or not of the column's kind.
        """
        numbers = np.full(len(cells), np.nan)
        if self.values:
            numbers[~missing] = self._places(cells[~missing])
            return numbers
        numbers[~missing] = _as_numbers(self.name, cells[~missing])
        wrong = {
            "positive": ~(numbers[~missing] > 0),
            "count": (numbers[~missing] < 0) | (numbers[~missing] != np.rint(numbers[~missing])),
        }.get(self.kind, np.zeros(1, dtype=bool))
        if wrong.any():
            value = numbers[~missing][wrong][0]
            raise DataError(
                f"Column {self.name!r} is of kind {self.kind!r}, got {value:g}. Write kinds={{{self.name!r}: 'real'}}."
            )
        return (numbers - self.loc) / (self.scale or 1.0)

    def _places(self, cells: np.ndarray) -> list[int]:
        """The place of each cell among the values."""
        _require_values(self.name, cells)
        places = {value: place for place, value in enumerate(self.values)}
        unknown = next((cell for cell in cells if cell not in places), None)
        if unknown is not None:
            shown = ", ".join(map(repr, self.values[:8])) + (", ..." if len(self.values) > 8 else "")
            raise DataError(
                f"Column {self.name!r} has the values {shown}, got {unknown!r}. Set the cell to None to have it "
                "imputed, or make the table from data that have this value."
            )
        return [places[cell] for cell in cells]

    def decode(self, numbers: np.ndarray) -> np.ndarray:
        """The values of the column that the numbers `(N,)` stand for."""
        if self.values:
            places = np.clip(np.rint(numbers), 0, len(self.values) - 1).astype(int)
            return np.array([self.values[place] for place in places], dtype=object)
        return np.rint(numbers) if self.kind == "count" else self.loc + self.scale * numbers


@dataclass(frozen=True)
class Table:
    """How a data frame, or an array `(N, D)`, becomes `x` `(N, D)` with its mask, and back.

        table = Table.of(frame)
        batch = table.encode(frame)  # {"x": (N, D), "mask": (N, D)}
        filled = table.fill(frame, impute(model, guide, batch).x)  # a data frame; observed cells stay

    NaN, None and NA mean missing.

    Attributes:
        columns: the D columns.
    """

    columns: tuple[Column, ...]

    @classmethod
    def of(cls, frame: Any, kinds: Mapping[Any, str] | None = None) -> "Table":
        """The table that fits the training data.

        The kind of a column follows from its type: text, booleans and unordered categories are `category`, ordered
        categories are `ordinal`, whole numbers of which none is negative are `count`, everything else is `real`. pandas
        makes floats of whole numbers with gaps; a column of a data frame that has gaps and such numbers alone, two
        at least, is a `count` too.

        Args:
            frame: a pandas data frame, or an array `(N, D)` of numbers, NaN where they are missing.
            kinds: the kinds of some columns by name, each one of `KINDS`, in place of those that follow from the type.

        Raises:
            DataError: no rows; a column without a value; two columns of one name; an unknown name or kind; values that
                are not of the column's kind.
        """
        cells = _columns(frame)
        if kinds is not None and not isinstance(kinds, Mapping):
            raise DataError(
                f"kinds requires a dict from columns to kinds, got {kinds!r}. Write kinds={{'a': 'count'}}."
            )
        kinds = dict(kinds or {})
        for name, kind in kinds.items():
            if name not in cells or kind not in KINDS:
                raise DataError(
                    f"kinds requires columns and kinds, got {{{name!r}: {kind!r}}}; the kinds are {', '.join(KINDS)}"
                    f"{_nearest(name, cells)}."
                )
        return cls(tuple(_column(name, series, kinds.get(name)) for name, series in cells.items()))

    @property
    def names(self) -> list[Any]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    def encode(self, frame: Any) -> Batch:
        """The batch `{"x", "mask"}` of a `frame` with the same columns; both are `(N, D)`, and x is 0 where missing.

        Raises:
            DataError: other columns, an unknown category, an infinity, or values that are not of the column's kind.
        """
        cells = self._same_columns(frame)
        numbers = [column.encode(_plain(cells[column.name]), _missing(cells[column.name])) for column in self.columns]
        for column, values in zip(self.columns, numbers, strict=True):
            if np.isinf(values).any():
                raise DataError(f"Column {column.name!r} holds infinity. Write NaN or None for a missing value.")
        return incomplete(torch.from_numpy(np.stack(numbers, 1)).to(torch.get_default_dtype()))

    def fill(self, frame: Any, x: Tensor) -> Any:
        """The frame with its missing cells filled; names, order, index and types stay.

        Args:
            frame: a data frame, or an array, with the columns of the table.
            x: the numbers for its cells, `(N, D)`, as `encode` gives them.

        Raises:
            DataError: the frame has other columns, or x is not finite where a cell is missing.
            ShapeError: x has another shape.
        """
        cells = self._same_columns(frame)
        x, size = check_tensor("x", x, "(N, D)"), len(frame)
        if tuple(x.shape) != (size, len(self.columns)):
            raise ShapeError(f"fill requires x of shape {(size, len(self.columns))}, got {tuple(x.shape)}.")
        numbers, result = x.detach().cpu().double().numpy(), frame.copy()
        for place, column in enumerate(self.columns):
            series = cells[column.name]
            missing = _missing(series)
            if not missing.any():
                continue
            if not np.isfinite(numbers[missing, place]).all():
                raise DataError(f"fill requires finite numbers, got NaN or infinity for column {column.name!r}.")
            values = column.decode(numbers[missing, place])
            if isinstance(frame, np.ndarray):
                result[missing, place] = values
            else:
                result.loc[missing, column.name] = _typed(values, series.dtype)
        return result

    def _same_columns(self, frame: Any) -> dict[Any, Any]:
        cells = _columns(frame)
        lacking = [name for name in self.names if name not in cells]
        extra = [name for name in cells if name not in self.names]
        if lacking or extra:
            raise DataError(
                f"The table has the columns {_shown(self.names)}; the frame lacks {_shown(lacking)} and has "
                f"{_shown(extra)} besides. Write frame[table.names]."
            )
        return cells


def _columns(frame: Any) -> dict[Any, Any]:
    """The columns of a data frame by name, or of an array by index."""
    if hasattr(frame, "columns"):
        names = list(frame.columns)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"The frame has two columns {twice!r}. Give each a name of its own.")
        return {name: frame[name] for name in names}
    if not isinstance(frame, np.ndarray) or frame.ndim != 2:
        what = f"an array of shape {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise DataError(f"A table is made from a pandas data frame or an array (N, D), got {what}.")
    return {place: frame[:, place] for place in range(frame.shape[1])}


def _column(name: Any, series: Any, kind: str | None) -> Column:
    missing, cells = _missing(series), _plain(series)
    if missing.all():
        raise DataError(
            f"Column {name!r} has no value at all ({len(cells)} rows), so nothing can be learned about it. Write "
            f"frame.drop(columns={name!r})."
        )
    kind = kind or _kind(series, cells[~missing], has_gaps=bool(missing.any()))
    if kind in ("ordinal", "category"):
        given = getattr(series.dtype, "categories", None)
        _require_values(name, cells[~missing])
        values = list(given) if given is not None else _sorted(set(cells[~missing]))
        return Column(name, kind, tuple(values))
    if kind != "real":
        column = Column(name, kind)
        column.encode(cells, missing)  # raises where the values are not of that kind
        return column
    numbers = _as_numbers(name, cells[~missing])
    spread, rounding = numbers.std(), 1e-9 * np.abs(numbers).max()
    return Column(name, kind, (), float(numbers.mean()), float(spread) if spread > rounding else 0.0)


def _kind(series: Any, cells: np.ndarray, *, has_gaps: bool) -> str:
    ordered = getattr(series.dtype, "ordered", None)
    if ordered is not None:
        return "ordinal" if ordered else "category"
    kind = getattr(series.dtype, "kind", "O")
    if kind == "f" and has_gaps and hasattr(series, "isna"):  # pandas has no gaps among integers
        kind = "i" if (cells == np.rint(cells)).all() and len(np.unique(cells)) > 1 else kind
    if kind in "iu" and (cells >= 0).all():
        return "count"
    return "real" if kind in "iuf" else "category"


def _require_values(name: Any, cells: np.ndarray) -> None:
    """Refuse cells that are no values, such as lists: nothing tells when two of them are the same."""
    odd = next((cell for cell in cells if not isinstance(cell, Hashable)), None)
    if odd is not None:
        raise DataError(
            f"Column {name!r} requires numbers, text or other plain values, got {type(odd).__name__} {odd!r}. Write "
            f"frame.drop(columns={name!r}), or a column for each of its parts."
        )


def _missing(series: Any) -> np.ndarray:
    if hasattr(series, "isna"):
        return series.isna().to_numpy()
    return np.isnan(series) if series.dtype.kind == "f" else np.zeros(len(series), dtype=bool)


def _plain(series: Any) -> np.ndarray:
    """The cells as Python's own values, or as numbers."""
    kind = getattr(series.dtype, "kind", "O")
    if isinstance(series, np.ndarray):
        return series
    return series.to_numpy(dtype=float, na_value=np.nan) if kind in "iuf" else series.astype(object).to_numpy()


def _as_numbers(name: Any, cells: np.ndarray) -> np.ndarray:
    try:
        return cells.astype(float)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Column {name!r} requires numbers: {error}. Write kinds={{{name!r}: 'category'}}, or repair the column."
        ) from None


def _sorted(values: set[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:  # values of several types
        return sorted(values, key=lambda value: (type(value).__name__, str(value)))


def _typed(values: np.ndarray, dtype: Any) -> np.ndarray:
    """The values in the type of their column; integers are rounded. The values of a category are Python's own."""
    kind = getattr(dtype, "kind", "O")
    if kind not in "iuf":
        return values
    values = values.astype(float)
    return np.rint(values).astype("int64") if kind in "iu" else values.astype(getattr(dtype, "numpy_dtype", dtype))


def _shown(names: list[Any]) -> str:
    return ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "none"


def _nearest(name: Any, cells: Mapping[Any, Any]) -> str:
    near = difflib.get_close_matches(str(name), map(str, cells), n=1)
    return f"; the nearest column is {near[0]!r}" if near and near[0] != name else ""
