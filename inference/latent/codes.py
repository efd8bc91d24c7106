"""What a trained pair shows of its latent space: codes, reconstructions, generated data, and the ways between codes."""

from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call
from pyrovae.inference.pair.handlers import PutMeans, PutValues
from pyrovae.inference.pair.running import ROWS, batches, device_of, evaluating, seeded, unchanged
from pyrovae.inference.pair.scoring import is_global
from pyrovae.inference.pair.tracing import datum_first, sites

__all__ = ["decode", "decode_means", "decode_sites", "encode", "encode_shared", "generate", "reconstruct", "repeat"]


def _codes_at(codes: Batch) -> PutValues:
    """Puts codes `(N, *plates, *event)` at their sites."""

    def value_of(site: Site) -> Tensor | None:
        name, shape = site["name"], tuple(site["fn"].batch_shape + site["fn"].event_shape)
        if name not in codes:
            return None
        value = codes[name][0] if is_global(site) else codes[name].movedim(0, len(site["fn"].batch_shape) - 1)
        if tuple(value.shape) != shape:
            raise ShapeError(
                f"site '{name}' of the model has shape {shape}, and the codes {tuple(codes[name].shape)}. Codes are "
                f"(N, *event), as encode(model, guide, data) gives them; one code is {name}[0]."
            )
        return value

    return PutValues(value_of)


def encode(
    model: ProgramLike, guide: ProgramLike, data: Batch, *, transform: Any = None, mean: bool = True, seed: int = 0
) -> dict[str, Tensor]:
    """The code of each datum: the mean of q(z | x), or a draw, at each latent site, shape `(N, *plates, *event)`.

    At the site of a label the mean is the most probable one; in a hierarchy the mean of a lower level is the one given
    the means above it. A latent of all data, outside the plate "data", has the same code at each of them.

    Raises:
        PairError: a distribution without a mean; the message names the site.
    """
    return encode_shared(model, guide, data, transform, mean, seed)[0]


def encode_shared(
    model: ProgramLike, guide: ProgramLike, data: Batch, transform: Any, mean: bool, seed: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The codes, and those of them that are one for all data."""
    size, device, transform = batch_size(data), device_of(model, guide), transform or unchanged
    parts: dict[str, list[Tensor]] = {}
    shared: dict[str, Tensor] = {}
    with evaluating(model, guide), seeded(seed, device):
        for batch in batches(data, ROWS, transform, device):
            with poutine.trace() as tracer, PutMeans(lambda _: mean):
                call(guide, batch, data_size=size)
            for name, site in sites(tracer.trace).items():
                if site["infer"].get("is_auxiliary"):
                    continue
                if is_global(site):
                    shared.setdefault(name, site["value"])
                else:
                    parts.setdefault(name, []).append(datum_first(site))
    codes = {name: torch.cat(part) for name, part in parts.items()}
    return codes | repeat(shared, size), shared


def decode(
    model: ProgramLike, latents: Batch, *, given: Batch | None = None, site: str = "x", mean: bool = True, seed: int = 0
) -> Tensor:
    """Data from codes: the mean of p(x | z), or a draw, shape `(N, *event)`.

    Args:
        latents: values of latent sites, each `(N, *plates, *event)`; those left out are drawn from the prior.
        given: what the model conditions on, such as `y`.
        site: the site to return.

    Raises:
        PairError: the model has no such site or latent, or its distribution has no mean.
    """
    with evaluating(model), seeded(seed, device_of(model)):
        return decode_sites(model, batch_size(latents), latents, given or {}, site, mean)


def generate(
    model: ProgramLike, size: int = 16, *, given: Batch | None = None, site: str = "x", mean: bool = True, seed: int = 0
) -> Tensor:
    """New data: z ~ p(z), then the mean of p(x | z), or a draw of it, shape `(size, *event)`.

    Raises:
        PairError: the model has no such site, or its distribution has no mean.
    """
    with evaluating(model), seeded(seed, device_of(model)):
        return decode_sites(model, size, {}, given or {}, site, mean)


def decode_sites(model: ProgramLike, size: int, latents: Batch, given: Batch, site: str, mean: bool) -> Tensor:
    return datum_first(_run(model, size, latents, given, site, PutMeans(lambda name: mean and name == site)))


def decode_means(model: ProgramLike, size: int, latents: Batch, given: Batch, site: str) -> Tensor:
    """Data from codes, those left out being the mean given the codes above them: nothing is random."""
    with evaluating(model):
        return datum_first(_run(model, size, latents, given, site, PutMeans(lambda _: True, _HOLD)))


_HOLD = "Hold it at a code, of a datum for instance: {name: z[0] for name, z in encode(model, guide, data).items()}."


def _run(model: ProgramLike, size: int, latents: Batch, given: Batch, site: str, means: Messenger) -> Site:
    """A site of the model, run for `size` data with those latents."""
    with poutine.trace() as tracer, means, _codes_at(latents):
        call(model, given, size=size, data_size=size)
    drawn = sites(tracer.trace)
    unknown = [name for name in (*latents, site) if name not in drawn]
    if unknown:
        raise PairError(
            f"the model has no site '{unknown[0]}', it has {', '.join(map(repr, drawn))}. Pass one of them."
        )
    return drawn[site]


def reconstruct(
    model: ProgramLike, guide: ProgramLike, data: Batch, *, transform: Any = None, mean: bool = True, seed: int = 0
) -> Tensor:
    """x -> z -> x: decode the code of each datum, shape `(N, *event)`."""
    latents = encode(model, guide, data, transform=transform, mean=mean, seed=seed)
    device = device_of(model, guide)
    batch = (transform or unchanged)({name: tensor.to(device) for name, tensor in data.items()})
    return decode(model, latents, given={n: t for n, t in batch.items() if n != "x"}, mean=mean, seed=seed)


def repeat(one: Batch | None, size: int) -> dict[str, Tensor]:
    """The tensors of one datum, for `size` data."""
    return {name: tensor.expand(size, *tensor.shape) for name, tensor in (one or {}).items()}
