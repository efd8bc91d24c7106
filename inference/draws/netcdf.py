"""Draws in a NetCDF file, written chunk by chunk and mapped into memory."""

import errno
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.errors import OutputError
from pyrovae.inference.draws.arviz import attributes, coordinates, datasets, require_package
from pyrovae.inference.draws.draws import Draws, Key, Named, Slot

__all__ = ["Awaited", "File"]


_REST = 2**20
"""Bytes of a file beside its arrays."""


class File:
    """The arrays of draws in a NetCDF file, written part by part, and mapped into memory when the file is complete.

    Until then it is a temporary file in the same folder. Each array is stored uncompressed in one piece, so only the
    parts that are used are read.

    Args:
        path: the file.
        slots: the arrays to fill.
        label: the label of each data point, `(N,)`; None where there are none.
        corrected: whether the draws are chosen by their weights.

    Raises:
        MissingExtraError: xarray, h5netcdf or h5py is not installed.
        OutputError: the folder cannot be created or written, or the disk is full.
    """

    def __init__(self, path: str | Path, slots: Mapping[Key, Slot], label: Tensor | None, corrected: bool) -> None:
        self.path, self.slots, self.label, self.corrected = Path(path), slots, label, corrected
        self.temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")

    def __enter__(self) -> "File":
        xarray, h5netcdf, _ = (require_package(package) for package in ("xarray", "h5netcdf", "h5py"))
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._check_room()
            for group, sizes in self._sizes().items():
                frame = xarray.Dataset(coords=coordinates(sizes, self.label), attrs=attributes(self.corrected))
                self._append(group, frame)
            self.file = h5netcdf.File(self.temporary, "a")
            self.variables = {key: self._create(key, slot) for key, slot in self.slots.items()}
        return self

    def _check_room(self) -> None:
        """Fail before the first number is written: HDF5 can crash the process when it meets a full disk."""
        itemsizes = {key: torch.empty(0, dtype=slot.dtype).element_size() for key, slot in self.slots.items()}
        needed = sum(itemsizes[key] * math.prod(slot.shape) for key, slot in self.slots.items())
        if hasattr(os, "posix_fallocate"):
            with self.temporary.open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, needed + _REST)
            self.temporary.unlink()
        elif shutil.disk_usage(self.path.parent).free < needed + _REST:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _sizes(self) -> dict[str, dict[str, int]]:
        """The dimensions of each group."""
        groups: dict[str, dict[str, int]] = {}
        for key, slot in self.slots.items():
            sizes = groups.setdefault(key.group, {"chain": 1})
            sizes.update(zip(slot.dims, slot.shape, strict=True))
        return groups

    def _append(self, group: str, dataset: Any) -> None:
        dataset.to_netcdf(self.temporary, mode="a", group=group, engine="h5netcdf")

    def _create(self, key: Key, slot: Slot) -> Any:
        dtype = torch.empty(0, dtype=slot.dtype).numpy().dtype
        variable = self.file[key.group].create_variable(key.name, ("chain", *slot.dims), dtype=dtype)
        if self.label is not None and "datum" in slot.dims:
            variable.attrs["coordinates"] = "label"  # NetCDF's mark of a coordinate
        return variable

    def put(self, key: Key, place: tuple[slice, ...], values: Tensor) -> None:
        """Write a part of an array.

        Args:
            key: the array.
            place: the part.
            values: the numbers.
        """
        with self._explained():
            self.variables[key][(0, *place)] = values.numpy()

    def finish(self, rest: Draws) -> Draws:
        """Complete the file, move it into place, and map the arrays from it.

        Args:
            rest: the draws with the arrays that are known at the end only.
        """
        with self._explained():
            self.file.close()
            for group, dataset in datasets(rest).items():
                self._append(group, dataset)
            self.temporary.replace(self.path)
            return replace(rest, arrays=_mapped(self.path, self.slots) | rest.arrays, path=self.path)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._discard()

    def _discard(self) -> None:
        with suppress(OSError, AttributeError):  # the disk is full, or the file was not opened
            self.file.close()
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # h5py raises either
            self._discard()
            why = getattr(error, "strerror", None) or error
            raise OutputError(
                f"cannot write {self.path.name!r} into {str(self.path.parent)!r}: {why}. Write to "
                'another folder, such as out="runs/mine/posterior.nc".'
            ) from error


class Awaited:
    """The file of another process, which writes it: nothing is written here, and the arrays are mapped in the end.

    Args:
        path: the file.
        slots: its arrays.
    """

    def __init__(self, path: str | Path, slots: Mapping[Key, Slot]) -> None:
        self.path, self.slots = Path(path), slots

    def __enter__(self) -> "Awaited":
        return self

    def put(self, key: Key, place: tuple[slice, ...], values: Tensor) -> None:
        """Nothing: the other process has the same numbers.

        Args:
            key, place, values: as in `File.put`.
        """

    def finish(self, rest: Draws) -> Draws:
        """Map the arrays from the complete file.

        Args:
            rest: the draws with the arrays that are known at the end only.

        Raises:
            OutputError: the file is on a disk of another machine.
        """
        if not self.path.is_file():
            raise OutputError(
                f"{str(self.path)!r} requires a disk that all machines share, got a machine without the file. Write "
                "to such a disk, out='/shared/posterior.nc'."
            )
        return replace(rest, arrays=_mapped(self.path, self.slots) | rest.arrays, path=self.path)

    def __exit__(self, *_: object) -> None:
        pass


def _mapped(path: Path, slots: Mapping[Key, Slot]) -> dict[Key, Named]:
    """The arrays of a file."""
    with require_package("h5py").File(path) as file:
        places = {key: file[key.group][key.name].id.get_offset() for key in slots}
    arrays = {}
    for key, slot in slots.items():
        dtype = torch.empty(0, dtype=slot.dtype).numpy().dtype
        # Mode "c" is private: changes of a tensor are not written into the file.
        array = np.memmap(path, dtype, "c", places[key], slot.shape)
        arrays[key] = Named(slot.dims, torch.from_numpy(array))
    return arrays
