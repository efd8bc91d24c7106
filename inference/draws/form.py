"""Form."""

from typing import NamedTuple

from torch import Tensor

from pyrovae.inference.draws.draws import event_dims
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.scoring import is_global

__all__ = ["Form", "Forms"]


class Form(NamedTuple):
    """How the draws of a site lie: `(S, *inner, B, *event)` in a run, `(S, B, *plates, *event)` in the result.

    Outside the plate "data" the two are `(S, *inner, *event)` and `(S, 1, *plates, *event)`.

    Attributes:
        inner: the plate, name and size, in each dimension between samples and data; ("", 1) where the site is in none.
    """

    inner: tuple[tuple[str, int], ...]
    event: tuple[int, ...]
    is_global: bool

    @classmethod
    def of(cls, site: Site, depth: int) -> "Form":
        """The form of a site, by a run without samples."""
        alone = is_global(site)
        plates = {f.dim: (f.name, f.size) for f in site["cond_indep_stack"] if f.dim is not None}
        inner = tuple(plates.get(dim, ("", 1)) for dim in range(-depth, 0 if alone else -1))
        return cls(inner, tuple(site["fn"].event_shape), alone)

    @property
    def plates(self) -> dict[str, int]:
        """The plates that the site is in, but "data"."""
        return {name: size for name, size in self.inner if name}

    @property
    def all_plates(self) -> list[str]:
        return ["data"] * (not self.is_global) + list(self.plates)

    def dims(self, name: str) -> tuple[str, ...]:
        """The names of the dimensions of one draw."""
        return (*("datum",) * (not self.is_global), *self.plates, *event_dims(name, len(self.event)))

    def pack(self, value: Tensor, count: int, size: int) -> Tensor:
        """From a run to the result."""
        rows = () if self.is_global else (size,)
        value = value.expand(count, *(n for _, n in self.inner), *rows, *self.event)
        if rows:
            value = value.movedim(len(self.inner) + 1, 1)
        return value.reshape(count, *(rows or (1,)), *self.plates.values(), *self.event)

    def unpack(self, value: Tensor) -> Tensor:
        """From the result to a run, where a single draw has no dimension."""
        rows = () if self.is_global else value.shape[1:2]
        value = value.reshape(len(value), *rows, *(n for _, n in self.inner), *self.event)
        if rows:
            value = value.movedim(1, len(self.inner) + 1)
        return value if len(value) > 1 else value.squeeze(0)


Forms = dict[str, Form]
