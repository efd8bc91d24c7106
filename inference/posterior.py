"""Draws of the latents given the data, of the data given the latents, and of both from the prior.

With z_s ~ q(z | x), the log-weight is log w_s = log p(x, z_s) - log q(z_s | x), in nats. Draws chosen from
the guide's in proportion to w are, the more there are to choose from, the more nearly draws of p(z | x).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrovae.data import Scale
from pyrovae.errors import NonFiniteError, PairError
from pyrovae.inference.compile import Compiled
from pyrovae.inference.draws import EFFECTIVE, LOG_WEIGHT, Draws, File, Key, Memory, Named, Slot, event_dims, label_of
from pyrovae.inference.evidence import (
    COMPILE_FROM,
    batches,
    chunk_sizes,
    depth_of,
    device_of,
    evaluating,
    is_global,
    layout,
    numbers,
    run_pair,
    samples_plate,
    scores,
    seeded,
    terms_of,
)
from pyrovae.inference.pair import Batch, PairTrace, Program, Site, batch_size, call, takes, trace_pair
from pyrovae.inference.pair import sites as sites_of
from pyrovae.networks import wide

__all__ = ["posterior", "posterior_predictive", "prior", "prior_predictive"]

Values = dict[Key, Tensor]  # draws of a chunk, each (S, B, *plates, *event), with B = 1 outside the plate "data"


def posterior(
    model: Program,
    guide: Program,
    data: Batch,
    num_samples: int = 100,
    *,
    sites: Sequence[str] | None = None,
    corrected: bool = False,
    proposals: int | None = None,
    predictive: bool = False,
    log_weights: bool = True,
    transform: Any = None,
    memory: int = 2**28,
    seed: int = 0,
    out: str | Path | None = None,
    compile: bool | None = None,
) -> Draws:
    """S draws of every latent site for each of N data: z_s ~ q(z | x), or, corrected, z_s ~ p(z | x), nearly.

    A latent that the guide leaves out, marked for enumeration in the model, is drawn from its exact conditional
    p(c | z_s, x). One outside the plate "data" is drawn S times for all data together.

    Args:
        data: named tensors of N data.
        num_samples: S.
        sites: what to keep, names of latent sites, or of plates for the sites in them; everything by default.
        corrected: choose from the guide's draws, with replacement, in proportion to their weights.
        proposals: how many draws of the guide the corrected ones are chosen from, for each datum; 10 S by default.
        predictive: draw x ~ p(x | z_s) too, given whatever else the model conditions on.
        log_weights: score the draws: `log_likelihood`, `log_weights`, `effective`. It costs the decoder, of which plain
            draws have no need.
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).
        memory: about how many bytes a chunk of draws may take; the result comes on top.
        seed: of the draws; the global random state is left alone.
        out: a NetCDF file for draws that are more than memory holds. They are written chunk by chunk, and the result's
            tensors are mapped from the file. ArviZ and xarray open it as it is.
        compile: replay a compiled graph; by default where there is so much to score that compiling pays.

    Raises:
        PairError: no data, no samples; no such site; a latent that nothing draws; `corrected` with a latent outside the
            plate "data", where no datum has weights of its own.
        NonFiniteError: the weights of a datum to be corrected are all zero, or NaN.
        MissingExtraError, OutputError: `out` cannot be written.

    References: Rubin (1988), Using the SIR algorithm to simulate posterior distributions; Cremer et al. (2017),
    arXiv:1704.02916, for the distribution of a guide's corrected draws.
    """
    size, transform = batch_size(data), transform or Scale()
    _check_counts("posterior", size, num_samples, proposals)
    device = device_of(model, guide)
    with evaluating(model, guide), seeded(seed, device):
        first = transform({name: tensor[:2].to(device) for name, tensor in data.items()})
        pair = trace_pair(model, guide, first, data_size=size)
        depth, has_global = layout(pair)
        if corrected and has_global:
            raise PairError(
                "a latent of the pair is outside the plate 'data', so no datum has weights of its own by which draws "
                "could be corrected. Drop corrected=True, or condition on that latent (pyro.condition)."
            )
        known = {name: site for name, (site, _) in pair.latent().items()}
        known |= {name: sites_of(pair.model)[name] for name in pair.undrawn()}
        latents = {name: Form.of(site, depth) for name, site in known.items()}
        observed = {name: Form.of(site, depth) for name, site in pair.observed().items()}
        kept = _selected(sites, latents)
        scored = corrected or log_weights or any(name in kept or predictive for name in pair.undrawn())
        source = _Posterior(model, depth, size, latents, observed, guide, scored, predictive, not has_global)
        runs_model = scored or predictive
        busy = latents | (observed if runs_model else {})
        # Without a decoder some four floats per number live at once, and not sixteen.
        space = memory // _combinations(pair) if runs_model else 4 * memory
        plan = _Plan.of(num_samples, (proposals or 10 * num_samples) * corrected, first, busy, latents, space)
        wanted = [Key("posterior", name) for name in kept]
        wanted += [Key("posterior_predictive", name) for name in observed if predictive]
        wanted += [source.log_likelihood, LOG_WEIGHT] if log_weights else []
        pays = scored and size * (plan.proposals or num_samples) * numbers(first) > COMPILE_FROM
        draw = Compiled(source.draw, model, guide) if (pays if compile is None else compile) else source.draw
        return _collect(source, draw, plan, wanted, data, batches(data, plan.rows, transform, device), out)


def posterior_predictive(model: Program, guide: Program, data: Batch, num_samples: int = 100, **options: Any) -> Draws:
    """Draws of z_s ~ q(z | x) and of new data x_s ~ p(x | z_s): `posterior(..., predictive=True)`.

    Raises:
        PairError: the model does not generate without data.
    """
    return posterior(model, guide, data, num_samples, predictive=True, **options)


def prior(
    model: Program,
    num_samples: int = 1000,
    *,
    given: Batch | None = None,
    sites: Sequence[str] | None = None,
    predictive: bool = False,
    memory: int = 2**28,
    seed: int = 0,
    out: str | Path | None = None,
) -> Draws:
    """S draws of every latent site from the model, z_s ~ p(z), or p(z | y) for each of N rows of what is given.

    Args:
        num_samples: S.
        given: what the model conditions on, such as `y`, N rows; without it there is one datum, N = 1.
        sites, memory, seed, out: as in `posterior`.
        predictive: draw x ~ p(x | z_s) too.

    Raises:
        PairError: no samples; no such site; the model does not generate, or observes what is given.
        MissingExtraError, OutputError: `out` cannot be written.
    """
    given, size = given or {}, batch_size(given) if given else 1
    _check_counts("prior", size, num_samples, None)
    device = device_of(model)
    with evaluating(model), seeded(seed, device):
        first = {name: tensor[:2].to(device) for name, tensor in given.items()}
        with poutine.trace() as tracer:
            call(model, first, size=min(size, 2), data_size=size)
        drawn, depth = sites_of(tracer.trace), depth_of(tracer.trace)
        for name, site in drawn.items():
            if site["is_observed"]:
                raise PairError(f"the prior's draws are given '{name}', which the model observes. Drop it from given.")
        forms = {name: Form.of(site, depth) for name, site in drawn.items()}
        # Arguments are named after the sites that they observe.
        observed = {name: form for name, form in forms.items() if name == "x" or takes(model, name)}
        latents = {name: form for name, form in forms.items() if name not in observed}
        source = _Prior(model, depth, size, latents, observed)
        plan = _Plan.of(num_samples, 0, first, forms, latents, memory)
        wanted = [Key("prior", name) for name in _selected(sites, latents)]
        wanted += [Key("prior_predictive", name) for name in observed if predictive]
        chunks = batches(given, plan.rows, dict, device) if given else [{}]
        return _collect(source, source.draw, plan, wanted, given, chunks, out)


def prior_predictive(model: Program, num_samples: int = 1000, **options: Any) -> Draws:
    """Draws of z_s ~ p(z) and x_s ~ p(x | z_s): `prior(..., predictive=True)`."""
    return prior(model, num_samples, predictive=True, **options)


def _check_counts(function: str, size: int, num_samples: int, proposals: int | None) -> None:
    if size == 0:
        raise PairError(f"{function} wants data, got an empty batch. Pass a split that is not empty, data.test say.")
    if num_samples < 1 or (proposals is not None and proposals < 1):
        raise PairError(
            f"{function} wants num_samples and proposals of at least 1, got {num_samples} and {proposals}. "
            "num_samples=100, proposals=1000 is a start."
        )


def _selected(wanted: Sequence[str] | None, latents: "Forms") -> list[str]:
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


# --------------------------------------------------------------------------------------- how a site's draws lie


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


class _Put(Messenger):
    """Puts values in place of draws."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Site) -> None:
        if msg["name"] in self.values:
            msg["value"], msg["done"] = self.values[msg["name"]], True


Forms = dict[str, Form]
Draw = Callable[[Batch, int, int, Values], Values]


# ------------------------------------------------------------------------------------------ what draws a chunk


@dataclass(frozen=True)
class _Source:
    """A model whose latents and observed sites are drawn.

    Attributes:
        depth: how many dimensions the pair's plates take.
        size: N, the number of all data.
        latents, observed: the forms of the sites.
    """

    model: Program
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
        return _Put({name: self.latents[name].unpack(value) for name, value in latents.items()})

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


@dataclass(frozen=True)
class _Prior(_Source):
    kind = "prior"

    def draw(self, batch: Batch, rows: int, count: int, common: Values) -> Values:
        return self.generate(batch, rows, count, common)


@dataclass(frozen=True)
class _Posterior(_Source):
    """Latents from the guide, those that it leaves out from their conditional.

    Attributes:
        scored: whether the model is run on the draws at all.
        predictive: whether new data are drawn.
        weighted: whether a datum has weights of its own.
    """

    guide: Program
    scored: bool
    predictive: bool
    weighted: bool
    kind = "posterior"

    def draw(self, batch: Batch, rows: int, count: int, common: Values) -> Values:
        run = partial(call, batch=batch, data_size=self.size)
        model = partial(run, self.model) if self.scored else _nothing
        pair = run_pair(model, partial(run, self.guide), count, self.depth, in_guide=self.putting(common))
        drawn = {name: site["value"] for name, site in sites_of(pair.guide).items() if name in self.latents}
        values = {Key(self.kind, n): self.latents[n].pack(value, count, rows) for n, value in drawn.items()}
        if not self.scored:
            return values
        of_model = scores(pair.model, (count, rows), self.depth, self.size)
        terms = terms_of(pair, (count, rows), self.depth, self.size, of_model)
        values |= {Key(self.kind, name): value for name, value in _enumerated(pair, of_model, self.depth).items()}
        values[self.log_likelihood] = terms.log_likelihood
        return values | ({LOG_WEIGHT: terms.log_weight} if self.weighted else {})

    @property
    def log_likelihood(self) -> Key:
        """Named after the observed site, where there is one."""
        return Key("log_likelihood", next(iter(self.observed)) if len(self.observed) == 1 else "joint")

    def predict(self, batch: Batch, rows: int, count: int, values: Values) -> Values:
        """New data, given the latents and whatever else the model conditions on."""
        if not self.predictive:
            return {}
        given = {name: tensor for name, tensor in batch.items() if name not in self.observed}
        return self.generate(given, rows, count, values)


def _nothing() -> None:
    """A model that is not run."""


def _enumerated(pair: PairTrace, of_model: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Draws of the latents c that the guide leaves out, from p(c | z, x), all of them jointly: `(S, B, *event)`."""
    names = pair.undrawn()
    if not names:
        return {}
    table = sum((t for t in of_model.values() if t.dim() > 2), torch.zeros(()))  # log p(c, z, x), (*enumerated, S, B)
    picked = dist.Categorical(logits=wide(table).flatten(0, -3).movedim(0, -1)).sample()
    indices = torch.unravel_index(picked, table.shape[:-2])
    draws = {}
    for name in names:
        site = sites_of(pair.model)[name]
        support = site["value"].reshape(-1, *site["fn"].event_shape)
        draws[name] = support[indices[site["infer"]["_enumerate_dim"] + depth + 1]]  # the first is in dim -depth - 2
    return draws


def _combinations(pair: PairTrace) -> int:
    """How many values the latents that the guide leaves out take together."""
    left_out = [sites_of(pair.model)[name]["fn"] for name in pair.undrawn()]
    return math.prod(len(fn.enumerate_support(expand=False)) for fn in left_out)


# ----------------------------------------------------------------------------------------------- chunk by chunk


class _Plan(NamedTuple):
    """Draws of a chunk of `rows` data, `draws` at a time; `proposals` to choose from where draws are corrected."""

    num_samples: int
    proposals: int
    rows: int
    draws: int

    @classmethod
    def of(cls, num_samples: int, proposals: int, first: Batch, busy: Forms, kept: Forms, memory: int) -> "_Plan":
        """Chunks by memory: a draw takes the `busy` sites' numbers, a datum those of `first`, and what is `kept`."""
        rows, draws = chunk_sizes(_numbers(busy), proposals or num_samples, memory)
        rows = min(rows, chunk_sizes(first, 1, memory)[0])
        if proposals:
            rows = min(rows, chunk_sizes(_numbers(kept), num_samples, memory)[0])
        return cls(num_samples, proposals, rows, draws)

    def parts(self, total: int) -> Iterator[slice]:
        """So many draws, part by part."""
        return (slice(done, min(done + self.draws, total)) for done in range(0, total, self.draws))


def _numbers(forms: Forms) -> Batch:
    """Tensors of the forms' sizes that hold nothing."""
    shapes = {name: (1, *form.plates.values(), *form.event) for name, form in forms.items()}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


class _Weights:
    """The running sums of w and of w squared, in logarithms, for each datum of a chunk."""

    def __init__(self) -> None:
        self.sums: Any = None  # (2, B)

    def add(self, log_weight: Tensor) -> Tensor:
        """Take weights `(S, B)` in; return their share of the sum so far, `(B,)`."""
        log_weight = wide(log_weight)
        new = torch.stack([log_weight.logsumexp(0), (2 * log_weight).logsumexp(0)])
        self.sums = new if self.sums is None else torch.logaddexp(self.sums, new)
        return (new[0] - self.sums[0]).exp()

    @property
    def total(self) -> Tensor:
        """log sum_s w_s."""
        return self.sums[0]

    @property
    def effective(self) -> Tensor:
        """(sum w)^2 / sum w^2."""
        return (2 * self.sums[0] - self.sums[1]).exp()


def _plain(
    draw: Draw, plan: _Plan, batch: Batch, rows: int, weights: _Weights, common: dict[int, Values], shared: set[str]
) -> Iterator[tuple[slice, Values]]:
    """The draws of a chunk of data as they come; of the `shared` latents, of all data, those of the first chunk."""
    for part in plan.parts(plan.num_samples):
        values = draw(batch, rows, part.stop - part.start, common.get(part.start, {}))
        common[part.start] = {key: v for key, v in values.items() if key.name in shared}
        if LOG_WEIGHT in values:
            weights.add(values[LOG_WEIGHT])
        yield part, values


def _corrected(
    draw: Draw, plan: _Plan, batch: Batch, place: slice, weights: _Weights
) -> Iterator[tuple[slice, Values]]:
    """Sampling-importance-resampling, S draws chosen from more proposals than memory holds.

    Each of the S places holds one of the proposals so far, in proportion to its weight: a new part of them takes the
    place with the probability of its share in the sum of weights.
    """
    kept: Values = {}
    rows = place.stop - place.start
    for part in plan.parts(plan.proposals):
        values = draw(batch, rows, part.stop - part.start, {})
        share = weights.add(values[LOG_WEIGHT])
        log_weight = wide(values[LOG_WEIGHT])
        # Where all weights of the part are zero, its share is too, and any of it may be picked.
        log_weight = log_weight.where(log_weight.logsumexp(0).isfinite(), 0.0)
        picked = log_weight.softmax(0).T.multinomial(plan.num_samples, replacement=True).T
        columns = torch.arange(rows, device=picked.device)
        fresh = {key: value[picked, columns] for key, value in values.items()}
        taken = torch.rand(picked.shape, device=picked.device) < share
        kept = {key: _where(taken, value, kept.get(key, value)) for key, value in fresh.items()}
    total = weights.total
    if not total.isfinite().all():
        bad = [place.start + row for row in (~total.isfinite()).nonzero().flatten().tolist()]
        raise NonFiniteError(
            f"the {plan.proposals} weights of a datum are all zero, or not finite, at rows {bad[:5]} of the data, so "
            "no draw can be chosen by them. check_pair says what is not finite; otherwise take more proposals=..., or "
            "corrected=False."
        )
    kept[LOG_WEIGHT] = (total - math.log(plan.proposals)).to(kept[LOG_WEIGHT].dtype).expand(plan.num_samples, rows)
    return ((part, {key: value[part] for key, value in kept.items()}) for part in plan.parts(plan.num_samples))


def _where(chosen: Tensor, value: Tensor, other: Tensor) -> Tensor:
    """By draw and datum, `chosen` of shape `(S, B)`."""
    return value.where(chosen.reshape(*chosen.shape, *[1] * (value.dim() - 2)), other)


def _collect(
    source: _Source,
    draw: Draw,
    plan: _Plan,
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
            rows, weights = min(plan.rows, source.size - start), _Weights()
            place = slice(start, start + rows)
            drawn = (
                _corrected(draw, plan, batch, place, weights)
                if corrected
                else _plain(draw, plan, batch, rows, weights, common, source.shared)
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


def _slots(source: _Source, plan: _Plan, wanted: Sequence[Key], batch: Batch) -> dict[Key, Slot]:
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


def _data_arrays(source: _Source, tensors: dict[str, Tensor]) -> dict[Key, Named]:
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
