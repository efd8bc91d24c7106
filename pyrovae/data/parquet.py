"""Parquet: a file, or a folder of them. What fits is read; a larger one is converted once to a memory map.

Parquet is compressed in groups of many rows, so one row of it costs the reading of a whole group. The map has one row
after the other, as training reads them.
"""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from pyrovae.data.arrays import Contents, as_labels, as_tensor, check_rows
from pyrovae.data.arrow import ArrowColumns, arrow
from pyrovae.data.limits import shown_bytes
from pyrovae.data.mapped import WatchedFile
from pyrovae.errors import DataError, PyrovaeError

__all__ = ["ParquetFiles", "is_parquet"]

_CHUNK = 2**24
"""About so many bytes are converted at a time."""

_SPARE = 2**28
"""Bytes of the disk that a conversion leaves free."""

_VERSION = 1
"""Of the form of a conversion: another version is converted anew."""

_PARTS = {"train": "train", "test": "test", "valid": "valid", "val": "valid", "validation": "valid"}
"""The names of files or folders that are splits."""


def is_parquet(path: Path) -> bool:
    """Whether a path is a Parquet file, or a folder with some.

    Args:
        path: any path.
    """
    return path.suffix.lower() == ".parquet" or (path.is_dir() and next(path.rglob("*.parquet"), None) is not None)


@dataclass(frozen=True)
class ParquetFiles:
    """The Parquet files of a path.

    Attributes:
        path: the file or the folder.
        parts: the files of each split; `{"all": files}` where they do not come split.
        columns: which columns make which tensor.
        sizes: the number of rows of each split.
        row: the first row as arrays.
    """

    path: Path
    parts: dict[str, list[Path]]
    columns: ArrowColumns
    sizes: dict[str, int]
    row: dict[str, np.ndarray]

    @classmethod
    def of(cls, path: Path) -> "ParquetFiles":
        """The files of a path, of which the first row is read.

        Args:
            path: the file or the folder.

        Raises:
            DataError: no file, no row, a truncated file, files with other columns, or columns that are no numbers.
            MissingExtraError: pyarrow is not installed.
        """
        parquet, parts = arrow("parquet"), _parts(path)
        footers, schemas = {}, {}
        for file in (file for files in parts.values() for file in files):
            with _reading(file):
                footers[file], schemas[file] = parquet.read_metadata(file), parquet.read_schema(file)
        first, schema = next(iter(schemas.items()))
        for file, other in schemas.items():
            if not other.equals(schema):
                raise DataError(f"{path} requires files with the same columns, got {first} and {file}. Move one away.")
        sizes = {part: sum(footers[file].num_rows for file in files) for part, files in parts.items()}
        empty = [part for part, size in sizes.items() if not size and part != "valid"]
        if empty:
            raise DataError(f"{path} is empty: it has no row{'' if 'all' in empty else f' for {empty[0]}'}.")
        columns = ArrowColumns.of(schema, str(path))
        filled = next(file for file in schemas if footers[file].num_rows)
        with _reading(filled), parquet.ParquetFile(filled) as opened:
            head = next(opened.iter_batches(batch_size=1, columns=columns.columns))
        return cls(path, parts, columns, sizes, columns.arrays(arrow().Table.from_batches([head])))

    @property
    def bytes(self) -> int:
        """How much memory the tensors take."""
        return self._row_bytes * sum(self.sizes.values())

    @property
    def _row_bytes(self) -> int:
        return sum(int(np.prod(cells.shape)) * _stored(name, cells).itemsize for name, cells in self.row.items())

    @property
    def _rows(self) -> int:
        """How many rows are converted at a time."""
        return max(1, _CHUNK // max(1, self._row_bytes))

    def read(self) -> Contents:
        """All rows, as arrays of each split.

        Raises:
            DataError: a file that is broken, or a cell that is missing.
            ShapeError: lists or images of several sizes.
        """
        chunks = {part: list(self._chunks(part)) for part in self.parts}
        arrays = {
            part: {name: np.concatenate([chunk[name] for chunk in found]) for name in self.row}
            for part, found in chunks.items()
            if found
        }
        return arrays, None

    def mapped(self, root: Path) -> tuple[Path, dict[str, dict[str, Path]], tuple[str, ...] | None]:
        """The folder of the converted rows, its `.npy` files by split and name, and the names of the classes.

        Args:
            root: the folder for downloads and conversions.

        Raises:
            DataError: as in `read`; the disk has no room; a file changed while it was read.
        """
        from filelock import FileLock  # not needed by what never converts

        folder = root / "converted" / f"{self.path.stem or 'parquet'}-{self._key()}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                self._convert(folder)
        classes = json.loads((folder / "classes.json").read_text())
        files = {part: {name: folder / f"{name}.{part}.npy" for name in self.row} for part in self.parts}
        return folder, files, None if classes is None else tuple(classes)

    def _key(self) -> str:
        """A name for these files as they are."""
        stats = [(str(file.resolve()), file.stat()) for files in self.parts.values() for file in files]
        text = json.dumps([_VERSION, [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _convert(self, folder: Path) -> None:
        self._check_room(folder.parent)
        print(
            f"{self.path}: converting {sum(self.sizes.values()):,} rows once to a memory map of "
            f"{shown_bytes(self.bytes)} in {folder}",
            file=sys.stderr,
        )
        begun, watched = folder.with_name(f".{folder.name}"), self._watched()
        shutil.rmtree(begun, ignore_errors=True)  # what a conversion that was killed left
        begun.mkdir()
        try:
            classes = self._classes()
            (begun / "classes.json").write_text(json.dumps(classes))
            for part in self.parts:
                self._write(part, begun, classes)
            for file in watched:
                file.check()
            begun.rename(folder)
        finally:
            shutil.rmtree(begun, ignore_errors=True)

    def _check_room(self, folder: Path) -> None:
        free = shutil.disk_usage(folder).free
        if free < self.bytes + _SPARE:
            raise DataError(
                f"{self.path} is converted once to a memory map, which requires {shown_bytes(self.bytes)} of the disk "
                f"in {folder}, got {shown_bytes(free)} free. Write load(..., root='/another/disk'), or set "
                "PYROVAE_DATA."
            )

    def _watched(self) -> list[WatchedFile]:
        return [WatchedFile.of(file) for files in self.parts.values() for file in files]

    def _classes(self) -> list[str] | None:
        """The labels that are text, sorted."""
        if "y" not in self.row or self.row["y"].dtype.kind not in "US":
            return None
        column, found = self.columns.named["y"], set[str]()
        for part in self.parts:
            for table in self._tables(part, [column]):
                found.update(map(str, table.column(column).unique().to_pylist()))
        return sorted(found)

    def _write(self, part: str, folder: Path, classes: list[str] | None) -> None:
        """The rows of a split, one `.npy` for each tensor; written, not mapped, so that no page stays in memory."""
        files: dict[str, IO[bytes]] = {}
        try:
            for name, cells in self.row.items():
                files[name] = (folder / f"{name}.{part}.npy").open("wb")
                header = {"descr": _stored(name, cells).str, "fortran_order": False}
                shape = (self.sizes[part], *cells.shape[1:])
                np.lib.format.write_array_header_2_0(files[name], header | {"shape": shape})
            for chunk in self._chunks(part):
                for name, cells in self._checked(part, chunk, classes).items():
                    files[name].write(np.ascontiguousarray(cells).tobytes())
        finally:
            for file in files.values():
                file.close()

    def _checked(self, part: str, chunk: dict[str, np.ndarray], classes: list[str] | None) -> dict[str, np.ndarray]:
        """Rows as they are stored, after the checks that arrays in memory pass too."""
        known = None if classes is None else tuple(classes)
        if classes is not None:
            chunk = chunk | {"y": np.searchsorted(np.array(classes), chunk["y"])}
        origin = str(self.path)
        tensors = {
            name: as_labels("y", cells, known, origin) if name == "y" else as_tensor(name, cells, origin)
            for name, cells in chunk.items()
        }
        check_rows(tensors, origin)
        for name, tensor in tensors.items():
            if tensor.shape[1:] != self.row[name].shape[1:]:
                raise DataError(
                    f"{origin} requires {name!r} of one shape, got {self.row[name].shape[1:]} in the first row and "
                    f"{tuple(tensor.shape[1:])} in another. Pad the lists, or resize the images."
                )
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    def _chunks(self, part: str) -> Iterator[dict[str, np.ndarray]]:
        return (self.columns.arrays(table) for table in self._tables(part, self.columns.columns))

    def _tables(self, part: str, columns: list[str]) -> Iterator[Any]:
        """The rows of a split, some at a time."""
        for file in self.parts[part]:
            with _reading(file), arrow("parquet").ParquetFile(file) as opened:
                for batch in opened.iter_batches(batch_size=self._rows, columns=columns):
                    yield arrow().Table.from_batches([batch])
        arrow().default_memory_pool().release_unused()


def _parts(path: Path) -> dict[str, list[Path]]:
    """The Parquet files of each split, by the names of files and folders."""
    if path.is_file():
        return {"all": [path]}
    if not path.is_dir():
        raise DataError(f"No such file: {path} (the working folder is {Path.cwd()}).")
    files = [file for file in sorted(path.rglob("*.parquet")) if file.is_file() and _is_visible(file, path)]
    if not files:
        raise DataError(f"No Parquet file in {path}. Write frame.to_parquet('PATH.parquet').")
    parts: dict[str, list[Path]] = {}
    for file in files:
        parts.setdefault(_part_of(file.relative_to(path)), []).append(file)
    return parts if {"train", "test"} <= parts.keys() and "all" not in parts else {"all": files}


def _is_visible(file: Path, folder: Path) -> bool:
    return not any(name.startswith((".", "_")) for name in file.relative_to(folder).parts)


def _part_of(file: Path) -> str:
    """The split that a file or the folder above it is named after, or all."""
    for name in file.parts:
        word = re.match(r"[a-z]+", name.lower())
        if word and word[0] in _PARTS:
            return _PARTS[word[0]]
    return "all"


def _stored(name: str, cells: np.ndarray) -> np.dtype:
    """The type in which numbers are stored."""
    if name == "y":
        return np.dtype(np.int64)
    kind = cells.dtype.kind
    return np.dtype(np.uint8 if cells.dtype == np.uint8 else np.float32 if kind in "fb" else np.int64)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turns the errors of a reader of broken files into one that names the file."""
    try:
        yield
    except PyrovaeError:
        raise
    except (OSError, ValueError, arrow().ArrowException) as error:
        raise DataError(
            f"{file} cannot be read as Parquet (empty, truncated, or something else?): {type(error).__name__}: "
            f"{error}. Write frame.to_parquet('PATH.parquet')."
        ) from error
