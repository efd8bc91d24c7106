"""The rows of a memory map, read from its file.

A row of a map costs a page fault for each of its pages, counts as memory of the process until the page is given back,
and kills the process if the file was shortened meanwhile. A read costs half as much and does neither; it finds fewer
bytes. So training, which reads rows in a random order, reads.
"""

import os
import weakref
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyrovae.data.batch import Batch
from pyrovae.data.mapped import check_unchanged, place_of, touched
from pyrovae.errors import DataError

__all__ = ["MappedRows"]


class MappedRows:
    """Tensors that view memory maps, as a `Source`.

    Args:
        tensors: named tensors on the CPU that share their leading dimension.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors, self._size = dict(tensors), len(next(iter(tensors.values())))
        self._files = {name: _File.of(tensor) for name, tensor in tensors.items()}

    def __len__(self) -> int:
        return self._size

    def rows(self, numbers: Tensor) -> Batch:
        """Some rows.

        Args:
            numbers: their numbers, increasing.

        Raises:
            DataError: the file has changed since it was mapped.
        """
        check_unchanged(self._tensors)
        chosen = numbers.numpy()
        return {
            name: self._copied(tensor, chosen) if file is None else file.rows(tensor, chosen)
            for (name, tensor), file in zip(self._tensors.items(), self._files.values(), strict=True)
        }

    @staticmethod
    def _copied(tensor: Tensor, rows: np.ndarray) -> Tensor:
        """Rows of a tensor whose file cannot be read in its place."""
        touched({"": tensor}, len(rows))
        array = tensor.detach().numpy()
        whole = array.flags.c_contiguous and array.flags.aligned  # `take` would first copy another one as a whole
        return torch.from_numpy(array.take(rows, 0) if whole else np.ascontiguousarray(array[rows]))


class _File:
    """The open file of a memory map.

    Args:
        path: the file.
        offset: where the first row begins.
    """

    def __init__(self, path: Path, offset: int) -> None:
        self._path, self._offset, self._file = path, offset, os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        if hasattr(os, "posix_fadvise"):  # what lies around a random row is not worth reading
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    @classmethod
    def of(cls, tensor: Tensor) -> "_File | None":
        """The file behind a tensor; None where the rows are no pieces of it, or it is not there any more."""
        place = place_of(tensor)
        dense = sum((size - 1) * stride for size, stride in zip(tensor.shape[1:], tensor.stride()[1:], strict=True))
        row = tensor[:1].numel()
        if place is None or dense != row - 1 or tensor.stride(0) != row or not hasattr(os, "preadv"):
            return None
        found, offset = place
        try:
            opened = cls(found.path, offset)
        except OSError:
            return None
        return opened if os.fstat(opened._file).st_ino == found.inode else None

    def rows(self, tensor: Tensor, rows: np.ndarray) -> Tensor:
        """Some rows of the tensor, those that follow each other at once."""
        row, size = tensor[:1].numel(), tensor[:1].numel() * tensor.element_size()
        whole = torch.empty(len(rows) * row, dtype=tensor.dtype)
        into = whole.view(torch.uint8).numpy().data
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        places = zip(
            (starts * size).tolist(),
            (np.append(starts[1:], len(rows)) * size).tolist(),
            (self._offset + rows[starts] * size).tolist(),
            strict=True,
        )
        for start, end, offset in places:
            if os.preadv(self._file, [into[start:end]], offset) != end - start:
                self._read(into[start:end], offset)
        return whole.as_strided((len(rows), *tensor.shape[1:]), (row, *tensor.stride()[1:]))

    def _read(self, into: memoryview, offset: int) -> None:
        """Read as much as the system does not give at once."""
        while len(into):
            count = os.preadv(self._file, [into], offset)
            if not count:
                raise DataError(
                    f"{self._path} changed while it was used: it ends before byte {offset:,}. Load it again, and write "
                    "new data to a new file."
                )
            into, offset = into[count:], offset + count
