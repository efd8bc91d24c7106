"""The user's own files: `.npy`, read or memory-mapped, `.npz`, `.csv` and Parquet."""

import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.data.arrays import Contents, Parts, channels_first, check_filled, from_arrays, refuse_size
from pyrovae.data.csv_file import read_csv
from pyrovae.data.dataset import Batch, Dataset, hold_out
from pyrovae.data.limits import check_bytes
from pyrovae.data.mapped import watch
from pyrovae.data.parquet import ParquetFiles
from pyrovae.errors import DataError, PyrovaeError

__all__ = ["SUFFIXES", "load_file", "load_parquet"]

_NPZ_FORM = "Write np.savez(path, x=x, y=y), or np.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)."


def load_file(name: str, path: Path, valid: int | None, test: int | None, stream_limit: int, max_bytes: int) -> Dataset:
    """A file, read by its suffix, and split unless it comes split.

    Args:
        name: the data set's name.
        path: the file.
        valid: the number of data points held out for validation; a tenth by default.
        test: the number of data points held out for testing; a tenth by default.
        stream_limit: a `.npy` file of more bytes is memory-mapped.
        max_bytes: data that take more bytes in memory are refused.

    Raises:
        DataError: a file that is missing, empty, broken or too large, or a split of the wrong size.
        ShapeError: arrays of different lengths, or splits of different event shapes.
    """
    if not path.is_file():
        raise DataError(f"No such file: {path} (the working folder is {Path.cwd()}).")
    suffix = path.suffix.lower()
    if suffix == ".npy" and path.stat().st_size > stream_limit:
        return _stream(name, path, valid, test, stream_limit)
    with _reading(path):
        check_bytes(str(path), _bytes_in_memory(path, suffix), max_bytes)
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
    x = channels_first(_watched(path, mapped))
    check_filled("x", x, str(path))
    source = f"{path}, memory-mapped and split contiguously (not shuffled, not searched for NaN)"
    return Dataset(*_in_order({"x": x}, valid, test), name, source, streamed=True)


def _watched(path: Path, mapped: np.ndarray) -> Tensor:
    """The tensor of a memory map, whose file is watched."""
    assert isinstance(mapped, np.memmap)
    whole = torch.from_numpy(mapped)
    watch(path, whole, mapped)
    return whole


def _in_order(everything: Batch, valid: int | None, test: int | None) -> tuple[Batch, Batch, Batch]:
    """The three splits of rows that are not shuffled: the last rows are held out."""
    tenth = len(everything["x"]) // 10
    pool, tested = hold_out(everything, tenth if test is None else test, "test")
    return (*hold_out(pool, tenth if valid is None else valid), tested)


def load_parquet(
    name: str, path: Path, root: Path, valid: int | None, test: int | None, stream_limit: int, max_bytes: int
) -> Dataset:
    """A Parquet file or a folder of them, read, or converted to a memory map; split unless it comes split.

    Args:
        name: the data set's name.
        path: the file or the folder.
        root: the folder for conversions.
        valid: the number of data points held out for validation; a tenth by default.
        test: the number of data points held out for testing; a tenth by default.
        stream_limit: data that take more bytes are converted.
        max_bytes: data that take more bytes in memory are refused.

    Raises:
        DataError: files that are missing, broken or empty, columns that are no numbers, or a split of the wrong size.
        ShapeError: lists or images of several sizes.
        MissingExtraError: pyarrow is not installed.
    """
    files = ParquetFiles.of(path)
    if files.bytes <= stream_limit:
        check_bytes(str(path), files.bytes, max_bytes)
        return from_arrays(name, str(path), *files.read(), valid, test)
    folder, parts, classes = files.mapped(root)
    splits = {
        part: {n: _mapped(file) for n, file in found.items()} for part, found in parts.items() if files.sizes[part]
    }
    if "all" in splits:
        train, held, tested = _in_order(splits["all"], valid, test)
    else:
        refuse_size("test", test, str(path))
        train, tested = splits["train"], splits["test"]
        if "valid" in splits:
            refuse_size("valid", valid, str(path))
            held = splits["valid"]
        else:
            train, held = hold_out(train, len(train["x"]) // 10 if valid is None else valid)
    source = f"{path}, as a memory map in {folder}, in the order of the files (not shuffled)"
    return Dataset(train, held, tested, name, source, classes, streamed=True)


def _mapped(path: Path) -> Tensor:
    """The tensor of a `.npy` of this package's own."""
    mapped = np.load(path, mmap_mode="c", allow_pickle=False)
    whole = _watched(path, mapped)
    return channels_first(whole) if path.name.startswith("x.") else whole


def _bytes_in_memory(path: Path, suffix: str) -> int:
    """How much memory the arrays of a file take, by its headers; a table takes about as much as its text."""
    if suffix == ".npy":
        with path.open("rb") as file:
            return max(path.stat().st_size, _declared(file))
    if suffix != ".npz" or not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        total = 0
        for member in archive.infolist():
            with archive.open(member) as file:
                total += max(member.file_size, _declared(file))
    return total


def _declared(file: IO[bytes]) -> int:
    """The bytes of an array by the header of its `.npy`; 0 for anything else."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError:
        return 0
    return math.prod(shape) * dtype.itemsize


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


_READERS: dict[str, Callable[[Path], Contents]] = {".npy": _read_npy, ".npz": _read_npz, ".csv": read_csv}

SUFFIXES = tuple(_READERS)
"""The suffixes of the files that can be read."""
