"""Data frames with columns of several kinds and missing values, as numbers and back."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pyrovae.checks import check_tensor
from pyrovae.data.columns import columns_of, missing_cells
from pyrovae.data.hugging_face import EncodedRows, is_arrow
from pyrovae.data.kinds import KINDS, Column
from pyrovae.data.masks import incomplete
from pyrovae.display import Cells, Shown
from pyrovae.errors import DataError, ShapeError

__all__ = ["KINDS", "Column", "Table"]


@dataclass(frozen=True, repr=False)
class Table(Shown):
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

        The kind of a column follows from its type and its values: text, booleans, unordered categories and columns of
        0 and 1 are `category`, ordered categories are `ordinal`, dates are `date`, whole numbers of which none is
        negative are `count`, everything else is `real`. pandas makes floats of whole numbers with gaps; a column of a
        data frame that has gaps and such numbers alone, two at least, is a `count` too.

        Args:
            frame: a pandas data frame, or an array `(N, D)` of numbers, NaN where they are missing. Or a
                `datasets.Dataset`, of which one column at a time is in memory.
            kinds: the kinds of some columns by name, each one of `KINDS`, in place of those that follow from the type.

        Raises:
            DataError: no rows; a column without a value, or with infinities or complex numbers; two columns of one
                name; an unknown name or kind; values that are not of the column's kind; dates that are text; text with
                a value of its own in most rows.
        """
        cells = columns_of(frame)
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
        return cls(tuple(Column.of(name, series, kinds.get(name)) for name, series in cells.items()))

    def opened(self) -> Self:
        """The same table with one more value of each category, for all values that the training data lack."""
        return type(self)(tuple(replace(column, open=column.kind == "category") for column in self.columns))

    @property
    def names(self) -> list[Any]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    def encode(self, frame: Any) -> Any:
        """The batch `{"x", "mask"}` of a `frame` with the same columns; both are `(N, D)`, and x is 0 where missing.

        Of a `datasets.Dataset`, a `Source` of them: rows are encoded where they are read.

        Raises:
            DataError: other columns, an unknown category, an infinity, or values that are not of the column's kind.
        """
        cells = self._same_columns(frame)
        if is_arrow(frame):
            return EncodedRows(frame.select_columns(self.names), self.encode)
        numbers = [column.encode(cells[column.name]) for column in self.columns]
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
            missing = missing_cells(series)
            if not missing.any():
                continue
            if not np.isfinite(numbers[missing, place]).all():
                raise DataError(f"fill requires finite numbers, got NaN or infinity for column {column.name!r}.")
            values = column.decode(numbers[missing, place])
            if isinstance(frame, np.ndarray):
                result[missing, place] = values
            else:
                result.loc[missing, column.name] = _typed(values, series)
        return result

    def values(self, x: Tensor) -> dict[Any, np.ndarray]:
        """The values of each column, by name: those that the rows `x` stand for.

        Args:
            x: numbers `(N, D)`, as `encode` gives them.

        Raises:
            ShapeError: x has another shape.
        """
        x = check_tensor("x", x, f"(N, {len(self.columns)})", dims=2)
        if x.shape[1] != len(self.columns):
            raise ShapeError(f"values requires x of shape (N, {len(self.columns)}), got {tuple(x.shape)}.")
        numbers = x.detach().cpu().double().numpy()
        return {column.name: column.decode(numbers[:, place]) for place, column in enumerate(self.columns)}

    def cells(self) -> Cells:
        rows = [(str(c.name), c.kind, str(c).removeprefix(c.kind).strip()) for c in self.columns]
        return Cells(rows, ("column", "kind", "values"), words=(0, 1, 2))

    def _same_columns(self, frame: Any) -> Mapping[Any, Any]:
        cells = columns_of(frame)
        lacking = [name for name in self.names if name not in cells]
        extra = [name for name in cells if name not in self.names]
        if lacking or extra:
            raise DataError(
                f"The table has the columns {_shown(self.names)}; the frame lacks {_shown(lacking)} and has "
                f"{_shown(extra)} besides. Write frame[table.names]."
            )
        return cells


def _typed(values: np.ndarray, series: Any) -> Any:
    """The values in the type of their column; integers are rounded. The values of a category are Python's own."""
    dtype = series.dtype
    kind = getattr(dtype, "kind", "O")
    if kind == "M" and values.dtype.kind == "M":
        dates = type(series)(values)
        zone = getattr(dtype, "tz", None)
        return (dates.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else dates).astype(dtype).array
    if kind == "O" and values.dtype.kind == "f" and (values == np.rint(values)).all():
        return values.astype(int).astype(object)  # beside the whole numbers of a column of objects
    if kind not in "iuf":
        return values
    values = values.astype(float)
    return np.rint(values).astype("int64") if kind in "iu" else values.astype(getattr(dtype, "numpy_dtype", dtype))


def _shown(names: list[Any]) -> str:
    return ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "none"


def _nearest(name: Any, cells: Mapping[Any, Any]) -> str:
    near = difflib.get_close_matches(str(name), map(str, cells), n=1)
    return f"; the nearest column is {near[0]!r}" if near and near[0] != name else ""
