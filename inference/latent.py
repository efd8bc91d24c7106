"""What a trained pair shows: codes, reconstructions, generated data, and paths between two data."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.evidence import batches, device_of, evaluating, seeded
from pyrovae.inference.pair import Batch, Program, Site, batch_size, call, sites

__all__ = ["decode", "encode", "generate", "interpolate", "lerp", "reconstruct", "slerp"]

CHUNK = 1000  # data per call: bounds the memory of a whole data set


class _Mean(Messenger):
    """Puts the mean of its distribution, the most probable of labels, in place of a draw, at the `wanted` sites."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        super().__init__()
        self.wanted = wanted

    def _pyro_sample(self, msg: Site) -> None:
        if msg["is_observed"] or msg["done"] or site_is_subsample(msg) or not self.wanted(msg["name"]):
            return
        try:
            mean = msg["fn"].mode if isinstance(msg["fn"], dist.Categorical) else msg["fn"].mean
        except NotImplementedError:
            mean = None
        if mean is None or mean.isnan().all():
            raise PairError(
                f"the distribution of site '{msg['name']}', {type(msg['fn']).__name__}, has no mean in closed form. "
                "Ask for draws instead: mean=False."
            )
        msg["value"], msg["done"] = mean.expand(msg["fn"].batch_shape + msg["fn"].event_shape), True


def encode(
    model: Program, guide: Program, data: Batch, *, transform: Any = None, mean: bool = True, seed: int = 0
) -> dict[str, Tensor]:
    """The code of each datum: the mean of q(z | x), or a draw, at each latent site, shape `(N, *event)`.

    At the site of a label the mean is the most probable one; in a hierarchy the mean of a lower level is the one given
    the means above it.

    Raises:
        PairError: a distribution without a mean; the message names the site.
    """
    device, transform = device_of(model, guide), transform or (lambda batch: batch)
    parts = []
    with evaluating(model, guide), seeded(seed, device):
        for batch in batches(data, CHUNK, transform, device):
            with poutine.trace() as tracer, _Mean(lambda _: mean):
                call(guide, batch)
            drawn = sites(tracer.trace).items()
            parts.append({name: site["value"] for name, site in drawn if not site["infer"].get("is_auxiliary")})
    return {name: torch.cat([part[name] for part in parts]) for name in (parts[0] if parts else {})}


def decode(
    model: Program, latents: Batch, *, given: Batch | None = None, site: str = "x", mean: bool = True, seed: int = 0
) -> Tensor:
    """Data from codes: the mean of p(x | z), or a draw, shape `(N, *event)`.

    Args:
        latents: values of latent sites, each `(N, *event)`; those left out are drawn from the prior.
        given: what the model conditions on, such as `y`.
        site: the site to return.

    Raises:
        PairError: the model has no such site or latent, or its distribution has no mean.
    """
    with evaluating(model), seeded(seed, device_of(model)):
        return _decode(model, batch_size(latents), latents, given or {}, site, mean)


def generate(
    model: Program, size: int = 16, *, given: Batch | None = None, site: str = "x", mean: bool = True, seed: int = 0
) -> Tensor:
    """New data: z ~ p(z), then the mean of p(x | z), or a draw of it, shape `(size, *event)`.

    Raises:
        PairError: the model has no such site, or its distribution has no mean.
    """
    with evaluating(model), seeded(seed, device_of(model)):
        return _decode(model, size, {}, given or {}, site, mean)


def _decode(model: Program, size: int, latents: Batch, given: Batch, site: str, mean: bool) -> Tensor:
    with poutine.trace() as tracer, _Mean(lambda name: mean and name == site), poutine.condition(data=dict(latents)):
        call(model, given, size=size)
    drawn = sites(tracer.trace)
    unknown = [name for name in (*latents, site) if name not in drawn]
    if unknown:
        raise PairError(
            f"the model has no site '{unknown[0]}', it has {', '.join(map(repr, drawn))}. Pass one of them."
        )
    return drawn[site]["value"]


def reconstruct(
    model: Program, guide: Program, data: Batch, *, transform: Any = None, mean: bool = True, seed: int = 0
) -> Tensor:
    """x -> z -> x: decode the code of each datum, shape `(N, *event)`."""
    latents = encode(model, guide, data, transform=transform, mean=mean, seed=seed)
    device = device_of(model, guide)
    batch = (transform or (lambda batch: batch))({name: tensor.to(device) for name, tensor in data.items()})
    return decode(model, latents, given={n: t for n, t in batch.items() if n != "x"}, mean=mean, seed=seed)


def lerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """The straight line: (1 - w) start + w end, for weights `(T,)` shape `(T, *start.shape)`."""
    weight = weight.reshape(-1, *[1] * start.dim())
    return (1 - weight) * start + weight * end


def slerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """The arc at constant angular speed between two vectors `(D,)`; shape `(T, D)`.

    Where the normal prior of many dimensions keeps its mass, |z| is nearly constant: the arc stays there, while
    the straight line cuts through the middle. Parallel vectors have no arc: the line is taken.

    References: Shoemake (1985), Animating rotation with quaternion curves.
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1).clamp(-1, 1)
    angle = cosine.acos()
    if angle.sin() < 1e-3:  # as near as float32 can tell
        return lerp(start, end, weight)
    weight = weight.reshape(-1, 1)
    return (((1 - weight) * angle).sin() * start + (weight * angle).sin() * end) / angle.sin()


def interpolate(
    model: Program,
    start: Batch,
    end: Batch,
    *,
    steps: int = 10,
    path: Callable[[Tensor, Tensor, Tensor], Tensor] = slerp,
    site: str = "x",
) -> Tensor:
    """Data decoded along a path between two codes, shape `(steps, *event)`.

    Args:
        start, end: one code each, as `encode` gives them: `{"z": z[0]}`.
        path: `slerp` or `lerp`, or a function of start, end and weights `(T,)`; codes come to it as vectors `(D,)`.

    Raises:
        ShapeError: the codes are not of single data with equal shapes.
    """
    events = _event_shapes(model)
    for name, code in start.items():
        shape = events.get(name, tuple(code.shape))
        if name not in end or not code.shape == end[name].shape == torch.Size(shape):
            raise ShapeError(
                f"interpolate wants two codes of shape {shape} at '{name}', got {tuple(code.shape)} and "
                f"{tuple(end[name].shape) if name in end else 'none'}. Write {{'{name}': {name}[0]}}."
            )
    weights = torch.linspace(0, 1, steps, device=device_of(model))

    def along(a: Tensor, b: Tensor) -> Tensor:
        return path(a.flatten(), b.flatten(), weights.to(a.dtype)).reshape(steps, *a.shape)

    return decode(model, {name: along(code, end[name]) for name, code in start.items()}, site=site)


def _event_shapes(model: Program) -> dict[str, tuple[int, ...]]:
    """The shape of one datum at each site of the model."""
    with evaluating(model), seeded(0, device_of(model)), poutine.trace() as tracer:
        call(model, {}, size=1)
    return {name: tuple(site["fn"].event_shape) for name, site in sites(tracer.trace).items()}
