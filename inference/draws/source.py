"""Source."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.draws.draws import EFFECTIVE, LOG_WEIGHT, Draws, Key, Memory, Named, Slot, event_dims, label_of
from pyrovae.inference.draws.form import Form, Forms
from pyrovae.inference.draws.netcdf import File
from pyrovae.inference.draws.plan import Draw, Plan, Values
from pyrovae.inference.draws.resampling import Weights, corrected_draws, plain_draws
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call
from pyrovae.inference.pair.handlers import PutValues
from pyrovae.inference.pair.scoring import samples_plate
from pyrovae.inference.pair.tracing import sites as sites_of

__all__ = ["Source", "check_counts", "collect", "selected"]


def check_counts(function: str, size: int, num_samples: int, proposals: int | None) -> None:
    if size == 0:
        raise PairError(f"{function} wants data, got an empty batch. Pass a split that is not empty, data.test say.")
    if num_samples < 1 or (proposals is not None and proposals < 1):
        raise PairError(
            f"{function} wants num_samples and proposals of at least 1, got {num_samples} and {proposals}. "
            "num_samples=100, proposals=1000 is a start."
        )


def selected(wanted: Sequence[str] | None, latents: "Forms") -> list[str]:
    """The latent sites that `wanted` names, by themselves or by a plate."""
    chosen = list(latents) if wanted is None else []
    for word in [wanted] if isinstance(wanted, str) else wanted or ():
        found = [name for name, form in latents.items() if word == name or word in form.all_plates]
        if not found:
            plates = dict.fromkeys(plate for form in latents.values() for plate in form.all_plates)
            raise PairError(
                f"the pair has no latent site or plate '{word}': it has the sites {', '.join(map(repr, latents))} and "
                f"the plates {', '.join(map(repr, plates)) or 'none'}. Pass some of them, sites=[...]."
            )
        chosen += found
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True)
class Source:
    """A model whose latents and observed sites are drawn.

    Attributes:
        depth: how many dimensions the pair's plates take.
        size: N, the number of all data.
        latents, observed: the forms of the sites.
    """

    model: ProgramLike
    depth: int
    size: int
    latents: dict[str, Form]
    observed: dict[str, Form]
    kind: ClassVar[str]

    @property
    def shared(self) -> set[str]:
        """The latents outside the plate "data"."""
        return {name for name, form in self.latents.items() if form.is_global}

    def draw(self, batch: Batch, rows: int, count: int, common: Values) -> Values:
        """`count` draws for each of the rows, with the `common` values of latents outside the plate "data"."""
        raise NotImplementedError

    def predict(self, batch: Batch, rows: int, count: int, values: Values) -> Values:
        """What is drawn given these draws."""
        return {}

    def putting(self, values: Values) -> Messenger:
        """What puts these values of latents into a run."""
        latents = {key.name: value for key, value in values.items() if key.group == self.kind}
        unpacked = {name: self.latents[name].unpack(value) for name, value in latents.items()}
        return PutValues(lambda site: unpacked.get(site["name"]))

    def generate(self, given: Batch, rows: int, count: int, values: Values) -> Values:
        """Run the model without data, with these values of latents, and keep what it draws."""
        put = self.putting(values)
        with samples_plate(count, self.depth), poutine.trace() as tracer, put:
            call(self.model, given, size=rows, data_size=self.size)
        drawn, result = sites_of(tracer.trace), {}
        for group, forms in ((self.kind, self.latents), (f"{self.kind}_predictive", self.observed)):
            for name, form in forms.items():
                if name not in drawn:
                    raise PairError(
                        f"without data the model has no site '{name}', it has {', '.join(map(repr, drawn))}. It should "
                        "sample the same sites whether it is called with x or with size."
                    )
                result[Key(group, name)] = form.pack(drawn[name]["value"], count, rows)
        return result


def collect(
    source: Source,
    draw: Draw,
    plan: Plan,
    wanted: Sequence[Key],
    data: Batch,
    chunks: Iterable[Batch],
    out: str | Path | None,
) -> Draws:
    """Draw chunk by chunk, and put what is wanted where it goes."""
    corrected, effective, rest = plan.proposals > 0, torch.empty(source.size), dict[str, Tensor]()
    chunks = iter(chunks)
    first = next(chunks)
    slots = _slots(source, plan, wanted, {name: tensor[:2] for name, tensor in first.items()})
    common: dict[int, Values] = {}
    with File(out, slots, label_of(data), corrected) if out else Memory(slots) as store:
        for start, batch in zip(range(0, source.size, plan.rows), chain([first], chunks), strict=True):
            rows, weights = min(plan.rows, source.size - start), Weights()
            place = slice(start, start + rows)
            drawn = (
                corrected_draws(draw, plan, batch, place, weights)
                if corrected
                else plain_draws(draw, plan, batch, rows, weights, common, source.shared)
            )
            for part, values in drawn:
                everything = values | source.predict(batch, rows, part.stop - part.start, values)
                for key, slot in slots.items():
                    if "datum" in slot.dims:
                        store.put(key, (part, place), everything[key].cpu())
                    else:
                        store.put(key, (part,), everything[key].squeeze(1).cpu())
            if weights.sums is not None:
                effective[place] = weights.effective
            for name, tensor in batch.items():
                whole = rest.setdefault(name, torch.empty((source.size, *tensor.shape[1:]), dtype=tensor.dtype))
                whole[place] = tensor
        arrays = _data_arrays(source, rest)
        if LOG_WEIGHT in slots:
            arrays[EFFECTIVE] = Named(("datum",), effective)
        return store.finish(Draws(source.kind, arrays, corrected))


def _slots(source: Source, plan: Plan, wanted: Sequence[Key], batch: Batch) -> dict[Key, Slot]:
    """The arrays to fill, by one draw of two data."""
    rows = batch_size(batch) if batch else 1
    values = source.draw(batch, rows, 1, {})
    values |= source.predict(batch, rows, 1, values)
    forms, slots = {**source.latents, **source.observed}, {}
    for key in wanted:
        if key in values:
            stated = key.group.startswith(source.kind)
            dims = ("draw", *(forms[key.name].dims(key.name) if stated else ("datum",)))
            sizes = (plan.num_samples, *((source.size,) if "datum" in dims else ()), *values[key].shape[2:])
            slots[key] = Slot(dims, sizes, values[key].dtype)
    if not slots:
        raise PairError("nothing is asked for: no site, no weights. Pass sites=None, or log_weights=True.")
    return slots


def _data_arrays(source: Source, tensors: dict[str, Tensor]) -> dict[Key, Named]:
    """The data beside the draws, dimensions named as those of the sites that they are observed at."""
    arrays = {}
    for name, tensor in tensors.items():
        group = "observed_data" if name in source.observed else "constant_data"
        dims = ("datum", *event_dims(name, tensor.dim() - 1))
        form = source.observed.get(name)
        if form and tensor.shape[1:] == (*form.plates.values(), *form.event):
            dims = form.dims(name)
        arrays[Key(group, name)] = Named(dims, tensor)
    return arrays
