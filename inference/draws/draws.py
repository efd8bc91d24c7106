"""The draws of a pair: named arrays with named dimensions, in memory or mapped from a NetCDF file.

The dimensions are draw, datum, the plates of a latent by their names, and those of its event: `z_dim` for a vector z;
`channel`, `row`, `column` for images x.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.display import Cells, Shown, shortened
from pyrovae.inference.pair.tails import RARE

__all__ = ["EFFECTIVE", "LOG_WEIGHT", "Draws", "Key", "Named", "Slot", "event_dims", "label_of"]

LABEL = "y"
"""The name of the tensor that holds the class of each data point."""


class Key(NamedTuple):
    """The place of an array in ArviZ's schema.

    Attributes:
        group: such as `"posterior"`.
        name: that of a site, or `"log_weight"`, for example.
    """

    group: str
    name: str


class Named(NamedTuple):
    """An array with named dimensions.

    Attributes:
        dims: the names.
        values: the array.
    """

    dims: tuple[str, ...]
    values: Tensor

    def __str__(self) -> str:
        sizes = zip(self.dims, self.values.shape, strict=True)
        return f"({', '.join(f'{dim} {size:,}' for dim, size in sizes)})"


class Slot(NamedTuple):
    """An array that is to be filled.

    Attributes:
        dims: the names of its dimensions.
        shape: their sizes.
        dtype: the type of its numbers.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype


LOG_WEIGHT = Key("sample_stats", "log_weight")
"""log w of each draw and data point."""

EFFECTIVE = Key("sample_stats", "effective_sample_size")
"""The effective sample size of each data point."""


@dataclass(frozen=True, repr=False)
class Draws(Shown):
    """S draws for each of N data points; print them for a table.

    Attributes:
        kind: `"posterior"` or `"prior"`.
        arrays: every array with its dimensions, by its place in ArviZ's schema.
        corrected: whether the draws were chosen by their weights.
        path: the NetCDF file from which the arrays are mapped; None in memory.
    """

    kind: str
    arrays: dict[Key, Named]
    corrected: bool = False
    path: Path | None = None

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors of one of ArviZ's groups, by name.

        Args:
            name: that of the group, such as `"posterior"`.
        """
        return {key.name: array.values for key, array in self.arrays.items() if key.group == name}

    @property
    def latents(self) -> dict[str, Tensor]:
        """The draws of each latent site, `(S, N, *plates, *event)`, without N outside the plate "data"."""
        return self.group(self.kind)

    @property
    def predictive(self) -> dict[str, Tensor]:
        """The draws of each observed site given the latents, `(S, N, *event)`; empty where they were not requested."""
        return self.group(f"{self.kind}_predictive")

    @property
    def observed(self) -> dict[str, Tensor]:
        """The data at the observed sites, as the model got them, `(N, *event)`."""
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

        Corrected draws are equally probable: each has the mean weight of the proposals that it was chosen from. None
        where draws were not scored, or where a latent is outside the plate "data", so no data point has weights of its
        own.
        """
        return self.group(LOG_WEIGHT.group).get(LOG_WEIGHT.name)

    @property
    def effective_sample_size(self) -> Tensor | None:
        """(sum w)^2 / sum w^2 over the guide's draws, `(N,)`: about how many draws of p(z | x) they replace.

        None where `log_weights` is None.

        References: Kong (1992), A note on importance sampling using standardized importance weights.
        """
        return self.group(EFFECTIVE.group).get(EFFECTIVE.name)

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each dimension."""
        return {d: n for a in self.arrays.values() for d, n in zip(a.dims, a.values.shape, strict=True)}

    def cells(self) -> Cells:
        what = f"{'corrected ' * self.corrected}{self.kind} draws"
        count, size = self.sizes["draw"], self.sizes.get("datum", 1)
        before = f"{count:,} {what} of {size:,} data points" + (f", in {self.path}" if self.path else "")
        rows = [(key.group, key.name, str(array), _bytes(array.values)) for key, array in self.arrays.items()]
        shown, after = shortened(rows)
        effective = self.effective_sample_size
        if effective is not None:
            after.append(
                f"effective sample size of a data point: median {effective.median().item():.1f}, lowest "
                f"{effective.min().item():.1f}"
            )
            after += self._repeated(effective, count)
        return Cells(shown, before=[before], after=after, words=(0, 1, 2))

    def _repeated(self, effective: Tensor, count: int) -> list[str]:
        """A line where corrected draws repeat, because the weights are worth fewer draws than were asked for."""
        share = (effective < count).double().mean().item()
        if not self.corrected or share <= RARE:
            return []
        return [
            f"! for {100 * share:.0f} % of the data points the weights are worth fewer than {count} draws: corrected "
            "draws repeat there, and cannot tell what p(z | x) looks like"
        ]


def _bytes(array: Tensor) -> str:
    size = float(array.numel() * array.element_size())
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.3g} {unit}"


def event_dims(name: str, rank: int) -> tuple[str, ...]:
    """The names of the dimensions of an event: those of a vector or an image, or numbers where there are more.

    Args:
        name: that of the site, which is the prefix; the dimensions of an image x have none.
        rank: how many dimensions the event has.
    """
    if rank <= 1:
        return (f"{name}_dim",)[:rank]
    if rank > 3:
        return tuple(f"{name}_dim_{i}" for i in range(rank))
    names = ("channel", "row", "column")[-rank:]
    return names if name == "x" else tuple(f"{name}_{dim}" for dim in names)


def label_of(tensors: Mapping[str, Tensor]) -> Tensor | None:
    """The labels of the data: integers named y, one for each data point; None where there are none.

    Args:
        tensors: the tensors of the data, by name.
    """
    y = tensors.get(LABEL)
    return None if y is None or y.dim() != 1 or y.is_floating_point() else y.cpu()
