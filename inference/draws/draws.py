"""Draws of a pair: named arrays with named dimensions, in memory or in a NetCDF file, and as an ArviZ object.

The dimensions are draw, datum, then the plates of a latent by their names, then those of its event: `z_dim` of a vector
z; `channel`, `row`, `column` of images x.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["EFFECTIVE", "LOG_WEIGHT", "Draws", "Key", "Memory", "Named", "Slot", "event_dims", "label_of"]


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


def label_of(tensors: Mapping[str, Tensor]) -> Tensor | None:
    """The labels of a data set: integers named y, one for a datum."""
    y = tensors.get(LABEL)
    return None if y is None or y.dim() != 1 or y.is_floating_point() else y.cpu()


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
