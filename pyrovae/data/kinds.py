"""The kinds of columns of a table: which one a column is, and how its values become numbers and back."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyrovae.data.columns import dates_of, missing_cells, plain_cells
from pyrovae.errors import CellError, DataError

__all__ = ["KINDS", "Column"]

KINDS = ("real", "positive", "count", "ordinal", "category", "date")
"""The kinds of columns."""

_DAY = 86_400_000_000_000
"""Nanoseconds."""

_DATE = re.compile(r"\s*(\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{4}/\d{1,2}/\d{1,2})([T ].*)?$")
"""How text spells a date."""

LARGEST = 1e150
"""The largest number of a column that is standardised."""

_NAMES = 32
"""A column of text with more values than this, in more than half of its rows, holds names and no categories."""


@dataclass(frozen=True)
class Column:
    """One column: how its values become numbers, and how numbers become its values.

    Attributes:
        name: its name in the data frame; its index in an array.
        kind: `real` and `date` (standardised; a date is its days since 1970), `positive` and `count` (unchanged),
            `ordinal` and `category` (numbered from 0).
        values: the values of an ordinal or a category, in order.
        loc, scale: mean and standard deviation of a real column or a date; the scale of a constant column is 0.
        whole: whether a real column holds whole numbers alone, or a date whole days; numbers are then rounded.
        open: whether all values of a category that are not among `values` are one more value, the last; if not, they
            are an error.
    """

    name: Any
    kind: str
    values: tuple[Any, ...] = ()
    loc: float = 0.0
    scale: float = 1.0
    whole: bool = False
    open: bool = False

    @property
    def num_values(self) -> int:
        """The number of values of an ordinal or a category; 0 of other columns."""
        return len(self.values) + self.open

    @classmethod
    def of(cls, name: Any, series: Any, kind: str | None = None) -> "Column":
        """The column that fits the training data.

        Args:
            name: its name.
            series: the column of a data frame or an array.
            kind: its kind, one of `KINDS`; None decides by its type and values.

        Raises:
            DataError: no value, or values that are not of the kind.
        """
        missing, cells = missing_cells(series), plain_cells(series)
        if missing.all():
            raise DataError(
                f"Column {name!r} has no value at all ({len(cells)} rows), so nothing can be learned about it. Write "
                f"frame.drop(columns={name!r})."
            )
        _refuse_complex(name, cells)
        seen, has_gaps = cells[~missing], bool(missing.any())
        kind = kind or _kind(name, series, seen, has_gaps=has_gaps)
        if kind in ("ordinal", "category"):
            given = getattr(series.dtype, "categories", None)
            _require_values(name, seen)
            return cls(name, kind, tuple(given if given is not None else _sorted(_distinct(seen))))
        if kind not in ("real", "date"):
            column = cls(name, kind)
            column.encode(series)  # raises where the values are not of that kind
            return column
        numbers = _days(name, series, missing) if kind == "date" else _as_numbers(name, seen)
        _refuse_large(name, numbers)
        spread, rounding = numbers.std(), 1e-9 * np.abs(numbers).max()
        whole = _are_whole(numbers) and (kind == "date" or (hasattr(series, "isna") and has_gaps))
        return cls(name, kind, (), float(numbers.mean()), float(spread) if spread > rounding else 0.0, whole)

    def encode(self, series: Any) -> np.ndarray:
        """A column as numbers, NaN where a cell is missing.

        Args:
            series: the column of a data frame or an array, `(N,)`.

        Raises:
            DataError: a value that is unknown, no number, or not of the column's kind.
        """
        missing, cells = missing_cells(series), plain_cells(series)
        numbers = np.full(len(cells), np.nan)
        if self.values:
            numbers[~missing] = self._places(cells[~missing])
            return numbers
        dated = self.kind == "date"
        seen = _days(self.name, series, missing) if dated else _as_numbers(self.name, cells[~missing])
        wrong = {"positive": ~(seen > 0), "count": (seen < 0) | (seen != np.rint(seen))}.get(self.kind, seen != seen)
        if wrong.any():
            raise DataError(
                f"Column {self.name!r} is of kind {self.kind!r}, got {seen[wrong][0]:g}. Write "
                f"kinds={{{self.name!r}: 'real'}}."
            )
        numbers[~missing] = (seen - self.loc) / (self.scale or 1.0)
        return numbers

    def decode(self, numbers: np.ndarray) -> np.ndarray:
        """The values of the column that the numbers `(N,)` stand for; dates are those of numpy.

        Args:
            numbers: floats, as `encode` gives them.
        """
        if self.values:
            places = np.clip(np.rint(numbers), 0, len(self.values) - 1).astype(int)
            return np.array([self.values[place] for place in places], dtype=object)
        numbers = self.loc + self.scale * numbers
        numbers = np.rint(numbers) if self.whole or self.kind == "count" else numbers
        return np.rint(numbers * _DAY).astype("datetime64[ns]") if self.kind == "date" else numbers

    def __str__(self) -> str:
        if self.values:
            shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in self.values[:6]]
            about = ", ".join(shown) + (f", ... ({len(self.values)})" if self.values[6:] else "")
        elif self.kind == "date":
            about = f"mean {self.decode(np.zeros(1)).astype('datetime64[D]')[0]}, sd {self.scale:.4g} days"
        else:
            about = f"mean {self.loc:.4g}, sd {self.scale:.4g}" if self.kind == "real" else ""
        return f"{self.kind:<10}{about}".rstrip()

    def _places(self, cells: np.ndarray) -> list[int]:
        """The place of each cell among the values."""
        _require_values(self.name, cells)
        places = {value: place for place, value in enumerate(self.values)}
        unknown = next((cell for cell in cells if cell not in places), None)
        if unknown is not None and not self.open:
            shown = ", ".join(map(repr, self.values[:8])) + (", ..." if len(self.values) > 8 else "")
            raise DataError(
                f"Column {self.name!r} has the values {shown}, got {unknown!r}. Set the cell to None to have it "
                "imputed, or make the table from data that have this value."
            )
        return [places.get(cell, len(self.values)) for cell in cells]


def _kind(name: Any, series: Any, cells: np.ndarray, *, has_gaps: bool) -> str:
    """The kind that the type and the values of a column have."""
    ordered = getattr(series.dtype, "ordered", None)
    if ordered is not None:
        return "ordinal" if ordered else "category"
    kind = getattr(series.dtype, "kind", "O")
    if kind == "M":
        return "date"
    if kind == "m" or "period" in str(series.dtype):
        line = ".dt.total_seconds() / 86400" if kind == "m" else ".dt.to_timestamp()"
        raise DataError(
            f"Column {name!r} requires numbers, text or dates, got {series.dtype}. Write "
            f"frame[{name!r}] = frame[{name!r}]{line}."
        )
    if kind not in "iuf" and not _hold_numbers(cells):
        _refuse_dates_and_names(name, cells)
        return "category"
    numbers = _as_numbers(name, cells)
    if set(numbers.tolist()) == {0.0, 1.0}:  # no and yes
        return "category"
    if kind == "f" and has_gaps and hasattr(series, "isna"):  # pandas has no gaps among integers
        kind = "i" if _are_whole(numbers) and len(set(numbers.tolist())) > 1 else kind
    kind = "i" if kind == "O" and all(isinstance(cell, int | np.integer) for cell in cells) else kind
    return "count" if kind in "iu" and (numbers >= 0).all() else "real"


def _hold_numbers(cells: np.ndarray) -> bool:
    """Whether cells of Python's own values are numbers, and no booleans."""
    return cells.dtype.kind == "O" and all(
        isinstance(cell, int | float | np.integer | np.floating) and not isinstance(cell, bool) for cell in cells
    )


def _refuse_dates_and_names(name: Any, cells: np.ndarray) -> None:
    """Refuse text that spells dates, dates that are Python's own, and names: no category of them comes twice."""
    _require_values(name, cells)
    values = _distinct(cells)
    dates = all(hasattr(value, "toordinal") or (isinstance(value, str) and _DATE.match(value)) for value in values)
    if dates and len(values) > 2:
        raise DataError(
            f"Column {name!r} holds dates as {type(cells[0]).__name__}, got {str(cells[0])!r}. Write "
            f"frame[{name!r}] = pandas.to_datetime(frame[{name!r}]), or kinds={{{name!r}: 'category'}}."
        )
    if len(values) > max(_NAMES, len(cells) / 2):
        raise DataError(
            f"Column {name!r} requires categories that come several times, got {len(values)} values in {len(cells)} "
            f"rows. Write frame.drop(columns={name!r}), or kinds={{{name!r}: 'category'}}."
        )


def _require_values(name: Any, cells: np.ndarray) -> None:
    """Refuse cells that are no values, such as lists: nothing tells when two of them are the same."""
    odd = next((cell for cell in cells if not isinstance(cell, Hashable)), None)
    if odd is not None:
        raise CellError(
            f"Column {name!r} requires numbers, text or other plain values, got {type(odd).__name__} {odd!r}: the "
            f"argument must be a string or a number. Write frame.drop(columns={name!r}), or a column for each of its "
            "parts."
        )


def _are_whole(numbers: np.ndarray) -> bool:
    return bool((numbers == np.rint(numbers)).all())


def _refuse_complex(name: Any, cells: np.ndarray) -> None:
    if cells.dtype.kind == "c" or (cells.dtype.kind == "O" and any(isinstance(cell, complex) for cell in cells)):
        raise DataError(
            f"Column {name!r} requires real numbers, got complex ones. Write frame[{name!r}].map(abs), or a column for "
            "the real part and one for the imaginary part."
        )


def _refuse_large(name: Any, numbers: np.ndarray) -> None:
    """Refuse numbers whose squares are infinite: they have no standard deviation."""
    largest = np.abs(numbers).max()
    if largest > LARGEST:
        raise DataError(
            f"Column {name!r} requires numbers up to {LARGEST:g}, got {largest:g}. Write frame[{name!r}] / {largest:g}."
        )


def _as_numbers(name: Any, cells: np.ndarray) -> np.ndarray:
    """Cells as floats, none of which is infinite."""
    try:
        numbers = cells.astype(float)
        if np.isinf(numbers).any():
            raise DataError(f"Column {name!r} holds infinity. Write NaN or None for a missing value.")
        return numbers
    except DataError:
        raise
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Column {name!r} requires numbers: {error}. Write kinds={{{name!r}: 'category'}}, or repair the column."
        ) from None


def _days(name: Any, series: Any, missing: np.ndarray) -> np.ndarray:
    """The dates of a column as days since 1970, without the missing ones."""
    dates = dates_of(series)
    if dates is None and not missing.all():
        raise DataError(
            f"Column {name!r} requires dates, got {series.dtype}. Write "
            f"frame[{name!r}] = pandas.to_datetime(frame[{name!r}])."
        )
    return np.zeros(0) if dates is None else dates[~missing].astype("datetime64[ns]").astype(np.int64) / _DAY


def _distinct(cells: np.ndarray) -> set[Any]:
    """The different values of a column, as Python's own where they are numbers or text."""
    return set(cells if cells.dtype.kind in "OM" else cells.tolist())


def _sorted(values: set[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:  # values of several types
        return sorted(values, key=lambda value: (type(value).__name__, str(value)))
