"""The dimensions of the draws of a site, in a run of the pair and in the result."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference.draws.draws import event_dims
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.scoring import is_global

__all__ = ["Form", "Forms", "selected"]


class Form(NamedTuple):
    """The dimensions of the draws of a site.

    They are `(S, *inner, B, *event)` in a run, and `(S, B, *plates, *event)` in the result. Outside the plate "data",
    they are `(S, *inner, *event)` and `(S, 1, *plates, *event)`.

    Attributes:
        inner: the name and size of the plate in each dimension between samples and data; ("", 1) where the site is in
            no plate.
        event: the shape of the event.
        is_global: whether the site is outside the plate "data".
    """

    inner: tuple[tuple[str, int], ...]
    event: tuple[int, ...]
    is_global: bool

    @classmethod
    def of(cls, site: Site, depth: int) -> "Form":
        """The form of a site.

        Args:
            site: the site in a run without samples.
            depth: how many dimensions the plates of the pair take.
        """
        alone = is_global(site)
        plates = {f.dim: (f.name, f.size) for f in site["cond_indep_stack"] if f.dim is not None}
        inner = tuple(plates.get(dim, ("", 1)) for dim in range(-depth, 0 if alone else -1))
        return cls(inner, tuple(site["fn"].event_shape), alone)

    @property
    def plates(self) -> dict[str, int]:
        """The sizes of the plates of the site, without the plate "data", by name."""
        return {name: size for name, size in self.inner if name}

    @property
    def all_plates(self) -> list[str]:
        """The names of the plates of the site."""
        return ["data"] * (not self.is_global) + list(self.plates)

    def dims(self, name: str) -> tuple[str, ...]:
        """The names of the dimensions of one draw.

        Args:
            name: that of the site.
        """
        return (*("datum",) * (not self.is_global), *self.plates, *event_dims(name, len(self.event)))

    def pack(self, value: Tensor, num_samples: int, rows: int) -> Tensor:
        """From the value in a run to that in the result.

        Args:
            value: the value in the run.
            num_samples: S.
            rows: B.
        """
        batch = () if self.is_global else (rows,)
        value = value.expand(num_samples, *(n for _, n in self.inner), *batch, *self.event)
        if batch:
            value = value.movedim(len(self.inner) + 1, 1)
        return value.reshape(num_samples, *(batch or (1,)), *self.plates.values(), *self.event)

    def unpack(self, value: Tensor) -> Tensor:
        """From the value in the result to that in a run, where a single draw has no dimension of its own.

        Args:
            value: the value in the result.
        """
        batch = () if self.is_global else value.shape[1:2]
        value = value.reshape(len(value), *batch, *(n for _, n in self.inner), *self.event)
        if batch:
            value = value.movedim(1, len(self.inner) + 1)
        return value if len(value) > 1 else value.squeeze(0)


Forms = Mapping[str, Form]
"""The forms of sites, by name."""


def selected(names: Sequence[str] | None, latents: Forms) -> list[str]:
    """The latent sites of these names, and those in the plates of these names.

    Args:
        names: names of latent sites and plates; all sites if None.
        latents: the forms of all latent sites.

    Raises:
        PairError: there is no latent site and no plate of a name.
    """
    chosen = list(latents) if names is None else []
    for word in [names] if isinstance(names, str) else names or ():
        found = [name for name, form in latents.items() if word == name or word in form.all_plates]
        if not found:
            plates = dict.fromkeys(plate for form in latents.values() for plate in form.all_plates)
            raise PairError(
                f"the pair has no latent site or plate '{word}'; it has the sites {', '.join(map(repr, latents))} and "
                f"the plates {', '.join(map(repr, plates)) or 'none'}. Write sites=[...] with some of these."
            )
        chosen += found
    return list(dict.fromkeys(chosen))
