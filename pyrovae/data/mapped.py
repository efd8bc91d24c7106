"""Memory-mapped files: one that changes while it is used is named, before its bytes are taken for data.

A mapped file that another program shortens kills the process that reads beyond its end (SIGBUS), and one that is
overwritten in place gives other numbers without a word. So the size and the time of change are compared with those at
the start before each batch is read; in a training whose steps are small, before each group of steps. What cannot be
caught: a change between the comparison and the read, a write that leaves size and time as they were, and a write
through another program's memory map, whose time of change comes late. A file that is replaced by another (`mv`, as
careful programs write) stays as it was for those who map it. Training reads the file instead (`MappedRows`).

Pages that were read stay in the memory of the process until the system needs them, so its size would grow to that of
the file. They are given back now and then; the system keeps what it likes in its own cache.
"""

import mmap
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from pyrovae.data.batch import Batch
from pyrovae.errors import DataError

__all__ = ["WatchedFile", "check_unchanged", "is_mapped", "parts", "place_of", "touched", "watch"]

RESIDENT = 2**28
"""About so many bytes of a file are in the memory of the process at most, before they are given back."""

_NEIGHBOURS = 2**16
"""The system maps about so many bytes around each byte that is read."""


@dataclass(frozen=True)
class WatchedFile:
    """A file, as it was when it was opened.

    Attributes:
        path: the file.
        inode, size, changed: its number, bytes, and time of change in nanoseconds.
    """

    path: Path
    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> "WatchedFile":
        """A file as it is now.

        Args:
            path: the file.
        """
        stat = path.stat()
        return cls(path.absolute(), stat.st_ino, stat.st_size, stat.st_mtime_ns)

    def check(self) -> None:
        """Refuse a file that has changed.

        Raises:
            DataError: it has another size or time of change.
        """
        try:
            now = self.path.stat()
        except OSError:  # a file without a name keeps its bytes for those who map it
            return
        if now.st_ino == self.inode and (now.st_size, now.st_mtime_ns) != (self.size, self.changed):
            raise DataError(
                f"{self.path} changed while it was used: it had {self.size:,} bytes, and has {now.st_size:,}; the rest "
                "of this run would read other data. Load it again, and write new data to a new file."
            )


class _Map:
    """A memory map: its file, and how much of it was read since its pages were given back."""

    def __init__(self, path: Path, mapped: np.memmap, *, gives_back: bool) -> None:
        self.file, self._mapped, self._read = WatchedFile.of(path), weakref.ref(mapped), 0
        self._is_file = gives_back
        self._gives_back = gives_back and hasattr(mmap, "MADV_DONTNEED")

    def touch(self, tensor: Tensor, rows: int) -> None:
        """Give the pages back once enough was read; those of a map that was written to would be lost, and stay.

        Args:
            tensor: a view of the map.
            rows: how many of its rows are read next.
        """
        mapped = self._mapped()
        if self._gives_back and self._read > RESIDENT and mapped is not None and not tensor._version:
            mapped._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
            self._read = 0
        self._read += rows * max(_NEIGHBOURS, tensor[:1].numel() * tensor.element_size())

    def offset(self, tensor: Tensor) -> int | None:
        """Where the first number of a view lies in the file; None where the map may hold other numbers.

        Args:
            tensor: a view of the map.
        """
        mapped = self._mapped()
        if mapped is None or not self._is_file or tensor._version:
            return None
        begins = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY
        return begins + tensor.data_ptr() - np.frombuffer(mapped._mmap, np.uint8).ctypes.data  # type: ignore[attr-defined]


_MAPS: dict[int, _Map] = {}
"""The memory maps, by the place of their first byte."""


def watch(path: Path, tensor: Tensor, mapped: np.memmap, *, gives_back: bool = True) -> None:
    """Watch the file behind a tensor, as long as the tensor's memory lives.

    Args:
        path: the file.
        tensor: a tensor of the whole map; views of it are watched too.
        mapped: the `numpy.memmap` that the tensor shares its memory with.
        gives_back: whether pages that were read may be given back: not where NumPy may have written into a private map.
    """
    place = tensor.untyped_storage().data_ptr()
    _MAPS[place] = _Map(path, mapped, gives_back=gives_back)
    weakref.finalize(mapped, _MAPS.pop, place, None)


def check_unchanged(batch: Batch) -> None:
    """Refuse a batch whose file has changed since it was mapped; other tensors cost one look into an empty dict.

    Args:
        batch: named tensors, before anything is read from them.

    Raises:
        DataError: the file has another size or time of change; the message names it.
    """
    for _, found in _maps(batch):
        found.file.check()


def touched(batch: Batch, rows: int) -> None:
    """Note that rows of a batch are read next, and give back the pages of its maps that were read before.

    Args:
        batch: named tensors.
        rows: how many rows.
    """
    for tensor, found in _maps(batch):
        found.touch(tensor, rows)


def place_of(tensor: Tensor) -> tuple[WatchedFile, int] | None:
    """The file that a tensor views, and where its first number lies there; None where it may hold other numbers.

    Args:
        tensor: any tensor.
    """
    for _, found in _maps({"": tensor}):
        offset = found.offset(tensor)
        return None if offset is None else (found.file, offset)
    return None


def is_mapped(batch: Batch) -> bool:
    """Whether a tensor of a batch views a memory map.

    Args:
        batch: named tensors.
    """
    return any(True for _ in _maps(batch))


def parts(tensor: Tensor, rows: int) -> Iterator[Tensor]:
    """The rows of a tensor, some at a time: a mapped one is larger than memory, perhaps.

    Args:
        tensor: `(N, *event)`.
        rows: the rows of a part.
    """
    for part in tensor.split(rows):
        touched({"": tensor}, len(part))
        yield part


def _maps(batch: Batch) -> Iterator[tuple[Tensor, _Map]]:
    """The tensors of a batch that view a map, each with its map."""
    if not _MAPS or not isinstance(batch, dict):
        return
    for tensor in batch.values():
        if tensor.device.type == "cpu":
            found = _MAPS.get(tensor.untyped_storage().data_ptr())
            if found is not None:
                yield tensor, found
