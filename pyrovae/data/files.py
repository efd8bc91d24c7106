"""The user's own files: `.npy`, read or memory-mapped, `.npz` and `.csv`."""

import csv
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyrovae.data.arrays import Contents, Parts, channels_first, check_filled, check_finite, from_arrays
from pyrovae.data.dataset import Dataset, hold_out
from pyrovae.errors import DataError, PyrovaeError

__all__ = ["SUFFIXES", "load_file"]

_NPZ_FORM = "Write np.savez(path, x=x, y=y), or np.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)."


def load_file(name: str, path: Path, valid: int | None, test: int | None, stream_limit: int) -> Dataset:
    """A file, read by its suffix, and split unless it comes split.

    Args:
        name: the data set's name.
        path: the file.
        valid: the number of data points held out for validation; a tenth by default.
        test: the number of data points held out for testing; a tenth by default.
        stream_limit: a `.npy` file of more bytes is memory-mapped.

    Raises:
        DataError: a file that is missing, empty or broken, or a split of the wrong size.
        ShapeError: arrays of different lengths, or splits of different event shapes.
    """
    if not path.is_file():
        raise DataError(f"No such file: {path} (the working folder is {Path.cwd()}).")
    suffix = path.suffix.lower()
    if suffix == ".npy" and path.stat().st_size > stream_limit:
        return _stream(name, path, valid, test, stream_limit)
    with _reading(path):
        parts, classes = _READERS[suffix](path)
    return from_arrays(name, str(path), parts, classes, valid, test)


def _stream(name: str, path: Path, valid: int | None, test: int | None, limit: int) -> Dataset:
    with _reading(path):
        mapped = _as_array(np.load(path, mmap_mode="c", allow_pickle=False), path)
    if mapped.dtype not in (np.uint8, np.float32, np.int64):
        raise DataError(
            f"{path} is memory-mapped, because it is larger than pyrovae.data.STREAM_LIMIT = {limit:,} bytes, and so "
            f"requires uint8, float32 or int64, got {mapped.dtype}. Write np.save(path, x.astype('float32')), or raise "
            "the limit."
        )
    x = channels_first(torch.from_numpy(mapped))
    check_filled("x", x, str(path))
    pool, tested = hold_out({"x": x}, len(x) // 10 if test is None else test, "test")
    train, held = hold_out(pool, len(x) // 10 if valid is None else valid)
    source = f"{path}, memory-mapped and split contiguously (not shuffled, not searched for NaN)"
    return Dataset(train, held, tested, name, source, streamed=True)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the errors of a reader of broken files into a DataError that names the file."""
    try:
        yield
    except PyrovaeError:
        raise
    except Exception as error:  # NumPy and zipfile raise all kinds for flipped or foreign bytes
        raise DataError(
            f"{path} cannot be read as {path.suffix} (empty, truncated, or not numbers?): "
            f"{type(error).__name__}: {error}. Write np.save('x.npy', x.astype('float32')), "
            "np.savez('data.npz', x=x, y=y), or a .csv of numbers."
        ) from error


def _as_array(loaded: Any, path: Path) -> np.ndarray:
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise DataError(f"{path} is an archive of arrays. Rename it to {path.stem}.npz.")
    return loaded


def _read_npy(path: Path) -> Contents:
    with path.open("rb") as file:  # opened here because np.load leaves a broken archive open
        return {"all": {"x": _as_array(np.load(file, allow_pickle=False), path)}}, None


def _read_npz(path: Path) -> Contents:
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{path} is a single array. Rename it to {path.stem}.npy.")
        arrays = {key: archive[key] for key in archive.files}
    named = arrays.pop("classes", None)
    classes = None if named is None else tuple(str(c) for c in named.ravel())
    if "x" in arrays:
        return {"all": arrays}, classes
    parts: Parts = {}
    for key, array in arrays.items():
        stem, _, part = key.rpartition("_")
        if stem == "" or part not in ("train", "valid", "test"):
            raise DataError(f"{path} has no array 'x', and {key!r} is not of the form x_train. {_NPZ_FORM}")
        parts.setdefault(part, {})[stem] = array
    missing = [f"x_{part}" for part in ("train", "test") if "x" not in parts.get(part, {})]
    if missing:
        got = ", ".join(arrays) or "no array"
        raise DataError(f"{path} has no array 'x', nor {' and '.join(missing)}; got {got}. {_NPZ_FORM}")
    return parts, classes


def _read_csv(path: Path) -> Contents:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows: Iterator[list[str]] = (row for row in csv.reader(file) if row)
        first = next(rows, None)
        if first is None:
            raise DataError(f"{path} is empty: it has no row.")
        if all(_is_number(cell) for cell in first):
            header, rows = [str(i) for i in range(len(first))], itertools.chain([first], rows)
        else:
            header = _check_header(first, path)
        label = next((i for i, name in enumerate(header) if _is_label(name)), None)
        columns = [name for i, name in enumerate(header) if i != label]
        table, labels = [], []
        for i, row in enumerate(rows):
            if len(row) != len(header):
                raise DataError(f"{path}: row {i} has {len(row)} cells, the first row has {len(header)}.")
            if label is not None:
                labels.append(row.pop(label).strip())
            table.append(_parse_row(row, columns, i, path))
    x = np.stack(table) if table else np.empty((0, len(columns)), np.float32)
    check_finite("x", torch.from_numpy(x), str(path), columns)
    return {"all": {"x": x} if label is None else {"x": x, "y": _parse_labels(labels, path)}}, None


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")  # an empty cell is a missing number
    except ValueError:
        return False
    return True


def _is_label(column: str) -> bool:
    return column.strip().lower() in ("y", "label")


def _check_header(header: list[str], path: Path) -> list[str]:
    if header[0] == "":
        raise DataError(
            f"{path}: the first column has no name, like an index that pandas wrote. Write "
            "frame.to_csv(path, index=False)."
        )
    labels = [name for name in header if _is_label(name)]
    if len(labels) > 1:
        raise DataError(f"{path} has more than one label column: {', '.join(labels)}. Keep one.")
    if len(labels) == len(header):
        raise DataError(f"{path} has a label column only, and no column of x.")
    return header


def _parse_row(row: list[str], columns: list[str], i: int, path: Path) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # an overflow is reported later, as an infinity
            return np.array([float(cell or "nan") for cell in row], dtype=np.float32)
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
        return np.array([float(label) for label in labels])
    return np.array(labels)


_READERS: dict[str, Callable[[Path], Contents]] = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}

SUFFIXES = tuple(_READERS)
"""The suffixes of the files that can be read."""
