"""Tables in text files: `.csv` with commas, with or without a header."""

import csv
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from pyrovae.data.arrays import Contents, check_finite, is_label
from pyrovae.errors import DataError

__all__ = ["read_csv"]

_MISSING = ("", "na", "n/a", "<na>", "nan", "null", "none", "?")
"""How programs write a missing number, in lower case."""

_SEPARATORS = {";": "';'", "\t": "a tab", "|": "'|'", " ": "a space"}

_WHOLE = re.compile(r"\s*\d+\s*$")


def read_csv(path: Path) -> Contents:
    """The columns of a table as `x`, and the column `y` or `label` as `y`.

    A first row of numbers is data, and one of names is a header. Where it could be either, it is refused.

    Args:
        path: a UTF-8 file.

    Raises:
        DataError: another separator than a comma, a header that may be data, a cell that is no number, or no row.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        _check_separator(path, list(itertools.islice((line for line in file if line.strip()), 2)))
        file.seek(0)
        rows: Iterator[list[str]] = (row for row in csv.reader(file) if row)
        first = next(rows, None)
        if first is None:
            raise DataError(f"{path} is empty: it has no row.")
        header = _header(first, path)
        if header is None:
            header, rows = [str(i) for i in range(len(first))], itertools.chain([first], rows)
        return _columns(header, rows, path, counted=first == _counting(len(first)))


def _columns(header: list[str], rows: Iterator[list[str]], path: Path, *, counted: bool) -> Contents:
    """The cells below a header; `counted` where it is 0, 1, 2, ..., which a row of whole numbers may be too."""
    label = next((i for i, name in enumerate(header) if is_label(name)), None)
    columns = [name for i, name in enumerate(header) if i != label]
    table, labels = [], []
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise DataError(f"{path}: row {i} has {len(row)} cells, the first row has {len(header)}.")
        counted = counted and all(map(_WHOLE.match, row))
        if label is not None:
            labels.append(row.pop(label).strip())
        table.append(_parse_row(row, columns, i, path))
    if counted and table:
        raise DataError(
            f"{path}: the first row, {', '.join(header[:4])}, is a header that pandas wrote, or data: all cells are "
            "whole numbers. Give the columns names, or write frame.to_csv(path, index=False, header=False)."
        )
    x = np.stack(table) if table else np.empty((0, len(columns)), np.float32)
    check_finite("x", torch.from_numpy(x), str(path), columns)
    return {"all": {"x": x} if label is None else {"x": x, "y": _parse_labels(labels, path)}}, None


def _check_separator(path: Path, lines: list[str]) -> None:
    """Refuse a table with another separator: one that the first two rows have equally often."""
    for separator, name in _SEPARATORS.items():
        counts = {line.strip("\r\n").count(separator) for line in lines}
        commas = separator in " |" and any("," in line for line in lines)
        if len(counts) == 1 and counts != {0} and not commas:
            sep = repr(separator)
            raise DataError(
                f"{path}: the columns are separated by {name}, and a .csv requires commas. Write "
                f"pandas.read_csv(path, sep={sep}).to_csv(path, index=False), with decimal=',' where 1,5 means 1.5."
            )


def _header(first: list[str], path: Path) -> list[str] | None:
    """The names of the columns; None where the first row is data."""
    words = [cell for cell in first if not _is_number(cell)]
    if not words:
        by_pandas = first == _counting(len(first)) or first == ["", *_counting(len(first) - 1)]
        return _check_header(first, path) if by_pandas else None
    odd = next((cell for cell in first if _is_measured(cell)), None)
    if odd is not None and not any(map(is_label, first)):
        raise DataError(
            f"{path}: the first row has {odd!r}, a number, and {words[0]!r}, which is none, so it is neither a header "
            "nor data. Repair the cell, or write a header of names."
        )
    return _check_header(first, path)


def _counting(count: int) -> list[str]:
    """The names that pandas gives columns without names."""
    return [str(i) for i in range(count)]


def _is_number(cell: str) -> bool:
    if cell.strip().lower() in _MISSING:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_measured(cell: str) -> bool:
    """Whether a cell is a number that hardly names a column: 5.1 or -3, but not 2019."""
    return _is_number(cell) and cell.strip().lower() not in _MISSING and not _WHOLE.match(cell)


def _number(cell: str) -> float:
    return float("nan" if cell.strip().lower() in _MISSING else cell)


def _check_header(header: list[str], path: Path) -> list[str]:
    if header[0] == "":
        raise DataError(
            f"{path}: the first column has no name, like an index that pandas wrote. Write "
            "frame.to_csv(path, index=False)."
        )
    labels = [name for name in header if is_label(name)]
    if len(labels) > 1:
        raise DataError(f"{path} has more than one label column: {', '.join(labels)}. Keep one.")
    if len(labels) == len(header):
        raise DataError(f"{path} has a label column only, and no column of x.")
    return header


def _parse_row(row: list[str], columns: list[str], i: int, path: Path) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # an overflow is reported later, as an infinity
            return np.array([_number(cell) for cell in row], dtype=np.float32)
    except ValueError as error:
        column, cell = next((c, v) for c, v in zip(columns, row, strict=True) if not _is_number(v))
        raise DataError(
            f"{path}: row {i}, column {column!r} is {cell!r}, not a number. Encode the column as numbers, or name it "
            "'label' if it holds the classes."
        ) from error


def _parse_labels(labels: list[str], path: Path) -> np.ndarray:
    if "" in labels:
        raise DataError(f"{path}: row {labels.index('')} has no label. Fill it or drop the row.")
    if all(_is_number(label) for label in labels):
        return np.array([_number(label) for label in labels])
    return np.array(labels)
