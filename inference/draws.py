"""Draws of a pair: named arrays with named dimensions, in memory or in a NetCDF file, and as an ArviZ object.

The dimensions are draw, datum, then the plates of a latent by their names, then those of its event: `z_dim` of a vector
z; `channel`, `row`, `column` of images x.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyrovae.errors import MissingExtraError, OutputError, PairError
from pyrovae.version import __version__

__all__ = ["Draws", "to_arviz"]

LABEL = "y"  # the tensor of a data set that has each datum's class


class Key(NamedTuple):
    """Where an array stands in ArviZ's scheme."""

    group: str
    name: str


class Named(NamedTuple):
    """An array and the names of its dimensions."""

    dims: tuple[str, ...]
    values: Tensor

    def __str__(self) -> str:
        sizes = zip(self.dims, self.values.shape, strict=True)
        return f"({', '.join(f'{dim} {size:,}' for dim, size in sizes)})"


class Slot(NamedTuple):
    """An array to be filled: dimensions, sizes, type."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype


LOG_WEIGHT = Key("sample_stats", "log_weight")
EFFECTIVE = Key("sample_stats", "effective_draws")


@dataclass(frozen=True, repr=False)
class Draws:
    """S draws for each of N data.

    Attributes:
        kind: `"posterior"` or `"prior"`.
        arrays: all that there is, by ArviZ's group and name, with named dimensions.
        corrected: whether the draws were chosen by their weights.
        path: the NetCDF file that the arrays are mapped from; None in memory.
    """

    kind: str
    arrays: dict[Key, Named]
    corrected: bool = False
    path: Path | None = None

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors of one of ArviZ's groups, by name."""
        return {key.name: array.values for key, array in self.arrays.items() if key.group == name}

    @property
    def latents(self) -> dict[str, Tensor]:
        """The draws of each latent site, `(S, N, *plates, *event)`; of one outside the plate "data", without N."""
        return self.group(self.kind)

    @property
    def predictive(self) -> dict[str, Tensor]:
        """Draws of each observed site given the latents, `(S, N, *event)`; empty where they were not asked for."""
        return self.group(f"{self.kind}_predictive")

    @property
    def observed(self) -> dict[str, Tensor]:
        """The data at the observed sites, as the model saw them, `(N, *event)`."""
        return self.group("observed_data")

    @property
    def given(self) -> dict[str, Tensor]:
        """The other tensors of the data, such as labels and covariates, `(N, *)`."""
        return self.group("constant_data")

    @property
    def log_likelihood(self) -> Tensor | None:
        """log p(x | z_s) of all observed sites, `(S, N)`, in nats; None where draws were not scored."""
        return next(iter(self.group("log_likelihood").values()), None)

    @property
    def log_weights(self) -> Tensor | None:
        """log w_s = log p(x, z_s) - log q(z_s | x), `(S, N)`, in nats: log mean_s w_s estimates log p(x).

        Corrected draws are all equally good: each has the mean weight of those that it was chosen from. None where
        draws were not scored, and with a latent outside the plate "data", where no datum has weights of its own.
        """
        return self.group(LOG_WEIGHT.group).get(LOG_WEIGHT.name)

    @property
    def effective(self) -> Tensor | None:
        """(sum w)^2 / sum w^2 over the guide's draws, `(N,)`: so many draws of p(z | x) are they worth. Kong (1992)."""
        return self.group(EFFECTIVE.group).get(EFFECTIVE.name)

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each dimension."""
        return {d: n for a in self.arrays.values() for d, n in zip(a.dims, a.values.shape, strict=True)}

    def __repr__(self) -> str:
        what = f"{'corrected ' * self.corrected}{self.kind} draws"
        count, size = self.sizes["draw"], self.sizes.get("datum", 1)
        lines = [f"{count:,} {what} of {size:,} data" + (f", in {self.path}" if self.path else "")]
        rows = [(key.group, key.name, str(array), _bytes(array.values)) for key, array in self.arrays.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows[:20]:
            lines.append("  " + "  ".join(map(str.ljust, row, widths)).rstrip())
        if len(rows) > 20:
            lines.append(f"  and {len(rows) - 20} more")
        if self.effective is not None:
            lowest, median = self.effective.min().item(), self.effective.median().item()
            lines.append(f"effective draws of a datum: median {median:.1f}, lowest {lowest:.1f}")
        return "\n".join(lines)


def _bytes(array: Tensor) -> str:
    size = float(array.numel() * array.element_size())
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.3g} {unit}"


def event_dims(name: str, rank: int) -> tuple[str, ...]:
    """The names of an event's dimensions: a vector's, an image's, else numbered; of x's pixels without prefix."""
    if rank <= 1:
        return (f"{name}_dim",)[:rank]
    if rank > 3:
        return tuple(f"{name}_dim_{i}" for i in range(rank))
    names = ("channel", "row", "column")[-rank:]
    return names if name == "x" else tuple(f"{name}_{dim}" for dim in names)


# ------------------------------------------------------------------------------------------- ArviZ's groups


def to_arviz(*draws: Draws, chains: int = 1) -> Any:
    """Draws as what ArviZ works on: its `InferenceData` for arviz 0.x, an xarray `DataTree` for arviz 1.x.

    Groups: `posterior`, `posterior_predictive`, `prior`, `prior_predictive`, `log_likelihood`, `sample_stats` (with
    `log_weight` and `effective_draws`), `observed_data`, `constant_data`, those of them that the draws have.
    Dimensions: chain, draw, datum, plates by their names, then `z_dim`, or `channel`, `row`, `column`. Where the data
    have integers `y`, these are the coordinate `label` along datum. Nothing is copied: draws in a file stay there.

    Args:
        draws: of `posterior` and of `prior`, at most one of each.
        chains: fold the S draws, which are independent, into so many chains; R-hat wants two or more.

    Raises:
        MissingExtraError: arviz is not installed.
        PairError: no draws, or two of one kind; S is no multiple of `chains`.
    """
    kinds = [one.kind for one in draws]
    if not draws or len(set(kinds)) < len(kinds):
        raise PairError(
            f"to_arviz wants draws, at most one of each kind, got {', '.join(kinds) or 'none'}. Write "
            "to_arviz(posterior(...), prior(...))."
        )
    for one in draws:
        if chains < 1 or one.sizes["draw"] % chains:
            raise PairError(f"{one.sizes['draw']} draws make no {chains} chains of one length. Choose a divisor.")
    arviz, xarray = wanted("arviz"), wanted("xarray")
    groups = {name: dataset for one in draws for name, dataset in datasets(one, chains).items()}
    if int(arviz.__version__.split(".")[0]) < 1:
        return arviz.InferenceData(**groups)
    return xarray.DataTree.from_dict({f"/{name}": dataset for name, dataset in groups.items()})


def datasets(draws: Draws, chains: int = 1) -> dict[str, Any]:
    """The xarray Dataset of each group."""
    xarray = wanted("xarray")
    groups: dict[str, dict[str, Any]] = {}
    for key, (dims, values) in draws.arrays.items():
        if dims[0] == "draw":
            dims, values = ("chain", *dims), values.unflatten(0, (chains, -1))
        groups.setdefault(key.group, {})[key.name] = dims, values.numpy()
    label = label_of({**draws.given, **draws.observed})
    described = {}
    for name, variables in groups.items():
        dataset = xarray.Dataset(variables)
        coords = coordinates(dataset.sizes, label)
        described[name] = dataset.assign_coords(coords).assign_attrs(attributes(draws.corrected))
    return described


def coordinates(sizes: Mapping[str, int], label: Tensor | None) -> dict[str, Any]:
    """The positions along each dimension, and the label of each datum."""
    coords: dict[str, Any] = {dim: np.arange(size) for dim, size in sizes.items()}
    if label is not None and "datum" in sizes:
        coords["label"] = "datum", label.numpy()
    return coords


def attributes(corrected: bool) -> dict[str, Any]:
    """Where a group comes from."""
    library = {"inference_library": "pyrovae", "inference_library_version": __version__}
    return {**library, "corrected": int(corrected)}


def label_of(tensors: Mapping[str, Tensor]) -> Tensor | None:
    """The labels of a data set: integers named y, one for a datum."""
    y = tensors.get(LABEL)
    return None if y is None or y.dim() != 1 or y.is_floating_point() else y.cpu()


def wanted(package: str) -> Any:
    """An optional package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f"draws are exported with {package}, which is not installed: pip install 'pyrovae[inspect]'"
        ) from error


# -------------------------------------------------------------------------------------- where draws are put


class Memory:
    """Arrays of draws as tensors."""

    def __init__(self, slots: Mapping[Key, Slot]) -> None:
        self.arrays = {key: Named(s.dims, torch.empty(s.shape, dtype=s.dtype)) for key, s in slots.items()}

    def put(self, key: Key, place: tuple[slice, ...], values: Tensor) -> None:
        """Write a part of an array."""
        self.arrays[key].values[place] = values

    def finish(self, rest: Draws) -> Draws:
        """All arrays, with those that are known at the end."""
        return replace(rest, arrays=self.arrays | rest.arrays)

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class File:
    """Arrays of draws in a NetCDF file, written part by part, and mapped into memory when all are there.

    The file is a temporary neighbour until it is whole. Each array lies in it in one piece, uncompressed: what is not
    looked at is not read.

    Raises:
        MissingExtraError: xarray, h5netcdf or h5py is not installed.
        OutputError: the folder cannot be made or written, or the disk is full.
    """

    def __init__(self, path: str | Path, slots: Mapping[Key, Slot], label: Tensor | None, corrected: bool) -> None:
        self.path, self.slots, self.label, self.corrected = Path(path), slots, label, corrected
        self.temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")

    def __enter__(self) -> "File":
        xarray, h5netcdf, _ = (wanted(package) for package in ("xarray", "h5netcdf", "h5py"))
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for group, sizes in self._sizes().items():
                frame = xarray.Dataset(coords=coordinates(sizes, self.label), attrs=attributes(self.corrected))
                self._append(group, frame)
            self.file = h5netcdf.File(self.temporary, "a")
            self.variables = {key: self._create(key, slot) for key, slot in self.slots.items()}
        return self

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
            variable.attrs["coordinates"] = "label"  # how NetCDF says that a variable is a coordinate
        return variable

    def put(self, key: Key, place: tuple[slice, ...], values: Tensor) -> None:
        """Write a part of an array."""
        with self._explained():
            self.variables[key][(0, *place)] = values.numpy()

    def finish(self, rest: Draws) -> Draws:
        """Add what is known at the end, put the file in place, and map the arrays from it."""
        with self._explained():
            self.file.close()
            for group, dataset in datasets(rest).items():
                self._append(group, dataset)
            self.temporary.replace(self.path)
            return replace(rest, arrays=self._mapped() | rest.arrays, path=self.path)

    def _mapped(self) -> dict[Key, Named]:
        with wanted("h5py").File(self.path) as file:
            places = {key: file[key.group][key.name].id.get_offset() for key in self.slots}
        arrays = {}
        for key, slot in self.slots.items():
            dtype = torch.empty(0, dtype=slot.dtype).numpy().dtype
            # Mode "c" is private: what is changed in a tensor never comes into the file.
            array = np.memmap(self.path, dtype, "c", places[key], slot.shape)
            arrays[key] = Named(slot.dims, torch.from_numpy(array))
        return arrays

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._discard()

    def _discard(self) -> None:
        with suppress(OSError, AttributeError):  # on a full disk, or before it was opened
            self.file.close()
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._discard()
            raise OutputError(
                f"cannot write {self.path.name!r} into {str(self.path.parent)!r}: {error.strerror or error}. Choose "
                'another folder: out="runs/mine/posterior.nc".'
            ) from error
