"""Memory-mapped files: one that changes while it is used is named, before its bytes are taken for data.

A mapped file that another program shortens kills the process that reads beyond its end (SIGBUS), and one that is
overwritten in place gives other numbers without a word. So the size and the time of change are compared with those at
the start before each batch is read; in a training whose steps are small, before each group of steps. What cannot be
caught: a change between the comparison and the read, a write that leaves size and time as they were, and a write
through another program's memory map, whose time of change comes late. A
file that is replaced by another (`mv`, as careful programs write) stays as it was for those who map it.
"""

import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrovae.data.dataset import Batch
from pyrovae.errors import DataError

__all__ = ["check_unchanged", "watch"]


@dataclass(frozen=True)
class _Source:
    """A mapped file, as it was when it was mapped."""

    path: Path
    inode: int
    size: int
    changed: int

    def check(self) -> None:
        try:
            now = self.path.stat()
        except OSError:  # a file without a name keeps its bytes for those who map it
            return
        if now.st_ino == self.inode and (now.st_size, now.st_mtime_ns) != (self.size, self.changed):
            raise DataError(
                f"{self.path} changed while it was used: it had {self.size:,} bytes, and has {now.st_size:,}; the rest "
                "of this run would read other data. Load it again, and write new data to a new file."
            )


_SOURCES: dict[int, _Source] = {}
"""The mapped files, by the place of their first byte in memory."""


def watch(path: Path, tensor: Any, mapped: Any) -> None:
    """Watch the file behind a tensor, as long as the tensor's memory lives.

    Args:
        path: the file.
        tensor: a tensor of the whole map; views of it are watched too.
        mapped: the `numpy.memmap` that the tensor shares its memory with.
    """
    stat, place = path.stat(), tensor.untyped_storage().data_ptr()
    _SOURCES[place] = _Source(path.absolute(), stat.st_ino, stat.st_size, stat.st_mtime_ns)
    weakref.finalize(mapped, _SOURCES.pop, place, None)


def check_unchanged(batch: Batch) -> None:
    """Refuse a batch whose file has changed since it was mapped; other tensors cost one look into an empty dict.

    Args:
        batch: named tensors, before anything is read from them.

    Raises:
        DataError: the file has another size or time of change; the message names it.
    """
    if not _SOURCES:
        return
    for tensor in batch.values():
        if tensor.device.type == "cpu":
            source = _SOURCES.get(tensor.untyped_storage().data_ptr())
            if source is not None:
                source.check()
