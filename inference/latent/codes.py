"""Codes of data, and data from codes: `encode`, `decode`, `reconstruct`, `generate`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrovae.checks import check_count, check_name
from pyrovae.data import Batch
from pyrovae.data.named import kind_of
from pyrovae.errors import DataError, PairError, ShapeError
from pyrovae.inference.pair.contract import (
    ProgramLike,
    Site,
    batch_size,
    call,
    explained_shapes,
    explained_types,
    filled,
)
from pyrovae.inference.pair.entry import conditioned, entered
from pyrovae.inference.pair.generation import generating, require_no_data, require_rows, require_size
from pyrovae.inference.pair.handlers import PutMeans, PutValues
from pyrovae.inference.pair.labels import LabelInputs, check_labels
from pyrovae.inference.pair.on_data import given as given_of
from pyrovae.inference.pair.running import ROWS, Transform, batches, device_of, evaluating, placed, seeded
from pyrovae.inference.pair.scoring import is_global
from pyrovae.inference.pair.tracing import datum_first, sites, trace_pair

__all__ = [
    "Encoded",
    "conditions",
    "decode",
    "decode_at_means",
    "decode_site",
    "encode",
    "encode_all",
    "generate",
    "reconstruct",
    "repeated",
]


@dataclass(frozen=True)
class Encoded:
    """The codes of N data points, and tensors of the batches that they were computed from.

    Attributes:
        codes: the codes, `(N, *plates, *event)` at each latent site.
        shared: the codes at sites outside the plate "data", `(*plates, *event)`.
        kept: some tensors of the transformed batches, `(N, *)`.
    """

    codes: dict[str, Tensor]
    shared: dict[str, Tensor]
    kept: dict[str, Tensor]


def encode(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    transform: Transform | None = None,
    mean: bool = True,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The code of each data point, at each latent site, `(N, *plates, *event)`.

    It is the mean of q(z | x), or a draw. At the site of a label the mean is the most probable label. In a hierarchy
    the mean of a lower level is the one given the means above it. A latent outside the plate "data" has the same code
    at each data point.

    Args:
        model, guide: the pair.
        data: named tensors of N data points.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        mean: whether to return the mean of q(z | x); otherwise a draw.
        seed: the seed of the draws and of a random transform; the global random state is left alone.

    Raises:
        DataError: the data are no named tensors, or of another type than the pair's parameters.
        PairError: no data; a distribution without a mean, whose site the message names.
    """
    return encode_all(model, guide, data, transform=transform, mean=mean, seed=seed).codes


def encode_all(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    transform: Transform | None,
    mean: bool,
    seed: int,
    keep: Sequence[str] = (),
) -> Encoded:
    """The codes of `encode`, the shared ones also on their own, and some tensors of the transformed batches.

    Args:
        model, guide, data, transform, mean, seed: as in `encode`.
        keep: the names of those tensors.
    """
    data = entered("encode", data, transform, model, guide)
    size, device = batch_size(data), device_of(model, guide)
    parts: dict[str, list[Tensor]] = {}
    kept: dict[str, list[Tensor]] = {name: [] for name in keep}
    shared: dict[str, Tensor] = {}
    with evaluating(model, guide), seeded(seed, device):
        for batch in batches(data, ROWS, transform, device):
            for name, part in kept.items():
                part.append(batch[name])
            with poutine.trace() as tracer, PutMeans(lambda _: mean), explained_shapes(guide, batch):
                call(guide, batch, data_size=size)
            for name, site in sites(tracer.trace).items():
                if site["infer"].get("is_auxiliary"):
                    continue
                if is_global(site):
                    shared.setdefault(name, site["value"])
                else:
                    parts.setdefault(name, []).append(datum_first(site))
    codes = {name: torch.cat(part) for name, part in parts.items()} | repeated(shared, size)
    return Encoded(codes, shared, {name: torch.cat(part) for name, part in kept.items()})


def conditions(model: ProgramLike, guide: ProgramLike, data: Batch, transform: Transform | None) -> list[str]:
    """The names of the tensors that the model conditions on, such as a label or a mask: `PairOnData.given`.

    Args:
        model, guide, data, transform: as in `encode`.
    """
    data, device = entered("conditions", data, transform, model, guide), device_of(model, guide)
    with evaluating(model, guide), seeded(0, device):
        first = placed(data, transform, device, slice(2))
        return list(given_of(trace_pair(model, guide, first, data_size=batch_size(data)), first))


def decode(
    model: ProgramLike, latents: Batch, *, given: Batch | None = None, site: str = "x", mean: bool = True, seed: int = 0
) -> Tensor:
    """Data from codes: the mean of p(x | z), or a draw, `(N, *event)`.

    Args:
        model: the program.
        latents: values of latent sites, each `(N, *plates, *event)`; latents that are left out are drawn.
        given: the tensors that the model conditions on, such as `y`, N rows.
        site: the observed site to return.
        mean: whether to return the mean of p(x | z); otherwise a draw.
        seed: the seed of the draws; the global random state is left alone.

    Raises:
        DataError: codes or conditions that are no named tensors, or of another type than the model's parameters.
        PairError: the model has no such site or latent, or its distribution has no mean.
        ShapeError: a code has another shape than its site, or codes and conditions differ in length.
    """
    if latents is not None and not isinstance(latents, Mapping):
        raise DataError(
            f'decode requires codes with the names of their latents, got {kind_of(latents)}. Write {{"z": z}} for a '
            "latent z, as encode(model, guide, data) returns codes."
        )
    latents, given = conditioned("decode", model, latents), conditioned("decode", model, given)
    with evaluating(model), seeded(seed, device_of(model)):
        return decode_site(model, filled("decode", {**latents, **given}), latents, given, site, mean)


def generate(
    model: ProgramLike,
    size: int = 16,
    *,
    given: Batch | None = None,
    site: str = "x",
    mean: bool = True,
    seed: int = 0,
) -> Tensor:
    """New data: z ~ p(z), then the mean of p(x | z), or a draw of it, `(size, *event)`.

    Args:
        model: the program.
        size: the number of data points.
        given: the tensors that the model conditions on, such as `y`, `size` rows.
        site: the observed site to return.
        mean: whether to return the mean of p(x | z); otherwise a draw.
        seed: the seed of the draws; the global random state is left alone.

    Raises:
        PairError: the model has no such site, or its distribution has no mean.
        SettingError: a size that is no whole number of at least 1.
        ShapeError: `given` has another number of rows.
    """
    size, given = check_count("size", size, write=16), conditioned("generate", model, given)
    if given and batch_size(given) != size:
        raise ShapeError(
            f"generate requires {size} rows of {', '.join(map(repr, given))}, got {batch_size(given)}. Write "
            f"size={batch_size(given)}."
        )
    with evaluating(model), seeded(seed, device_of(model)):
        return decode_site(model, size, {}, given, site, mean)


def reconstruct(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    transform: Transform | None = None,
    mean: bool = True,
    seed: int = 0,
    site: str = "x",
) -> Tensor:
    """Encode each data point and decode its code, x -> z -> x, `(N, *event)`.

    A random transform is drawn once: the model conditions on the same batch that the guide encodes.

    Args:
        model, guide: the pair.
        data: named tensors of N data points.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        mean: whether to use the means of q(z | x) and p(x | z); otherwise draws.
        seed: the seed of the draws and of a random transform; the global random state is left alone.
        site: the observed site to return.

    Raises:
        DataError: the data are no named tensors, or of another type than the pair's parameters.
        PairError: no data; the model has no such site; a distribution without a mean.
    """
    data = entered("reconstruct", data, transform, model, guide)
    names = conditions(model, guide, data, transform)
    encoded = encode_all(model, guide, data, transform=transform, mean=mean, seed=seed, keep=names)
    return decode(model, encoded.codes, given=encoded.kept, site=site, mean=mean, seed=seed)


def decode_site(model: ProgramLike, size: int, latents: Batch, given: Batch, site: str, mean: bool) -> Tensor:
    """The value or the mean at one site of the model, `(N, *event)`, in the present mode and random state.

    Args:
        model, latents, given, site, mean: as in `decode`.
        size: N.
    """
    return datum_first(_run(model, size, latents, given, site, PutMeans(lambda name: mean and name == site)))


def decode_at_means(model: ProgramLike, size: int, latents: Batch, given: Batch, site: str) -> Tensor:
    """Data from codes, without draws: a latent that is left out has its mean given the latents above it.

    Args:
        model, latents, given, site: as in `decode`.
        size: N.
    """
    with evaluating(model):
        return datum_first(_run(model, size, latents, given, site, PutMeans(lambda _: True, _HOLD)))


_HOLD = (
    "Hold it at a code, for example that of a data point: "
    "{name: z[0] for name, z in encode(model, guide, data).items()}."
)


def _run(model: ProgramLike, size: int, latents: Batch, given: Batch, site: str, means: Messenger) -> Site:
    """A site of the model, run for `size` data points with those latents."""
    site = check_name("site", site)
    if not given:
        require_size("generate", model)
    require_no_data("generate", model, given)
    with (
        poutine.trace() as tracer,
        means,
        _codes_at(latents),
        explained_types(model, latents),
        LabelInputs(model, batch=given) as labels,
        generating("generate", size),
    ):
        call(model, given, size=size, data_size=size)
    check_labels(given, labels.classes)
    drawn = sites(tracer.trace)
    unknown = [name for name in (*latents, site) if name not in drawn]
    if unknown:
        raise PairError(
            f"the model has no site '{unknown[0]}'; it has {', '.join(map(repr, drawn))}. Pass one of them."
        )
    require_rows("generate", drawn[site], size)
    return drawn[site]


def _codes_at(codes: Batch) -> PutValues:
    """The handler that puts codes `(N, *plates, *event)` at their sites."""

    def value_of(site: Site) -> Tensor | None:
        name, shape = site["name"], tuple(site["fn"].batch_shape + site["fn"].event_shape)
        if name not in codes:
            return None
        value = codes[name][0] if is_global(site) else codes[name].movedim(0, len(site["fn"].batch_shape) - 1)
        if tuple(value.shape) != shape:
            raise ShapeError(
                f"site '{name}' of the model has shape {shape}, and the codes have {tuple(codes[name].shape)}. Codes "
                f"are (N, *event), as encode(model, guide, data) returns them; one code is {name}[0]."
            )
        return value

    return PutValues(value_of)


def repeated(one: Batch | None, size: int) -> dict[str, Tensor]:
    """The tensors of one data point, `size` times.

    Args:
        one: tensors without a leading dimension; None for none.
        size: how many times.
    """
    return {name: tensor.expand(size, *tensor.shape) for name, tensor in (one or {}).items()}
