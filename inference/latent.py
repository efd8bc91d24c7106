"""What a trained pair shows of its latent space: codes, reconstructions, generated data, and the ways between codes."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.errors import DataError, PairError, ShapeError
from pyrovae.inference.evidence import batches, device_of, evaluating, is_global, seeded, unchanged
from pyrovae.inference.pair import Batch, Program, Site, batch_size, call, sites
from pyrovae.inference.paths import Kind, path, slerp
from pyrovae.inference.rates import dimension_rates
from pyrovae.maps import Method, Plane, embed, principal_plane

__all__ = [
    "LatentMap",
    "Neighbours",
    "Traversal",
    "attribute",
    "decode",
    "encode",
    "generate",
    "interpolate",
    "latent_map",
    "neighbours",
    "reconstruct",
    "traverse",
    "vary",
]

CHUNK = 1000  # data per call: bounds the memory of a whole data set
CELLS = 2**24  # distances at once


class _Mean(Messenger):
    """Puts the mean of its distribution, the most probable of labels, in place of a draw, at the `wanted` sites."""

    def __init__(self, wanted: Callable[[str], bool], instead: str = "Ask for draws instead: mean=False.") -> None:
        super().__init__()
        self.wanted, self.instead = wanted, instead

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
                f"{self.instead}"
            )
        msg["value"], msg["done"] = mean.expand(msg["fn"].batch_shape + msg["fn"].event_shape), True


class _Codes(Messenger):
    """Puts codes at their sites."""

    def __init__(self, codes: Batch) -> None:
        super().__init__()
        self.codes = codes

    def _pyro_sample(self, msg: Site) -> None:
        name, fn = msg["name"], msg["fn"]
        if name not in self.codes:
            return
        codes = self.codes[name]
        value = codes[0] if is_global(msg) else codes.movedim(0, len(fn.batch_shape) - 1)
        if value.shape != fn.batch_shape + fn.event_shape:
            raise ShapeError(
                f"site '{name}' of the model has shape {tuple(fn.batch_shape + fn.event_shape)}, and the codes "
                f"{tuple(codes.shape)}. Codes are (N, *event), as encode(model, guide, data) gives them; one code is "
                f"{name}[0]."
            )
        msg["value"], msg["is_observed"] = value, True


def _datum_first(site: Site) -> Tensor:
    """The value at a site, the datum before any inner plates."""
    return site["value"] if is_global(site) else site["value"].movedim(len(site["fn"].batch_shape) - 1, 0)


def encode(
    model: Program, guide: Program, data: Batch, *, transform: Any = None, mean: bool = True, seed: int = 0
) -> dict[str, Tensor]:
    """The code of each datum: the mean of q(z | x), or a draw, at each latent site, shape `(N, *plates, *event)`.

    At the site of a label the mean is the most probable one; in a hierarchy the mean of a lower level is the one given
    the means above it. A latent of all data, outside the plate "data", has the same code at each of them.

    Raises:
        PairError: a distribution without a mean; the message names the site.
    """
    return _encode(model, guide, data, transform, mean, seed)[0]


def _encode(
    model: Program, guide: Program, data: Batch, transform: Any, mean: bool, seed: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The codes, and those of them that are one for all data."""
    size, device, transform = batch_size(data), device_of(model, guide), transform or unchanged
    parts: dict[str, list[Tensor]] = {}
    shared: dict[str, Tensor] = {}
    with evaluating(model, guide), seeded(seed, device):
        for batch in batches(data, CHUNK, transform, device):
            with poutine.trace() as tracer, _Mean(lambda _: mean):
                call(guide, batch, data_size=size)
            for name, site in sites(tracer.trace).items():
                if site["infer"].get("is_auxiliary"):
                    continue
                if is_global(site):
                    shared.setdefault(name, site["value"])
                else:
                    parts.setdefault(name, []).append(_datum_first(site))
    codes = {name: torch.cat(part) for name, part in parts.items()}
    return codes | _repeat(shared, size), shared


def decode(
    model: Program, latents: Batch, *, given: Batch | None = None, site: str = "x", mean: bool = True, seed: int = 0
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
    return _datum_first(_run(model, size, latents, given, site, _Mean(lambda name: mean and name == site)))


def _decode_means(model: Program, size: int, latents: Batch, given: Batch, site: str) -> Tensor:
    """Data from codes, those left out being the mean given the codes above them: nothing is random."""
    with evaluating(model):
        return _datum_first(_run(model, size, latents, given, site, _Mean(lambda _: True, _HOLD)))


_HOLD = "Hold it at a code, of a datum for instance: {name: z[0] for name, z in encode(model, guide, data).items()}."


def _run(model: Program, size: int, latents: Batch, given: Batch, site: str, means: Messenger) -> Site:
    """A site of the model, run for `size` data with those latents."""
    with poutine.trace() as tracer, means, _Codes(latents):
        call(model, given, size=size, data_size=size)
    drawn = sites(tracer.trace)
    unknown = [name for name in (*latents, site) if name not in drawn]
    if unknown:
        raise PairError(
            f"the model has no site '{unknown[0]}', it has {', '.join(map(repr, drawn))}. Pass one of them."
        )
    return drawn[site]


def reconstruct(
    model: Program, guide: Program, data: Batch, *, transform: Any = None, mean: bool = True, seed: int = 0
) -> Tensor:
    """x -> z -> x: decode the code of each datum, shape `(N, *event)`."""
    latents = encode(model, guide, data, transform=transform, mean=mean, seed=seed)
    device = device_of(model, guide)
    batch = (transform or unchanged)({name: tensor.to(device) for name, tensor in data.items()})
    return decode(model, latents, given={n: t for n, t in batch.items() if n != "x"}, mean=mean, seed=seed)


def interpolate(
    model: Program,
    start: Batch,
    end: Batch,
    *,
    steps: int = 10,
    kind: Kind = slerp,
    given: Batch | None = None,
    site: str = "x",
) -> Tensor:
    """The means of p(x | z) along a path between two codes, shape `(steps, *event)`.

    Args:
        start, end: one code each, as `encode` gives them: `{"z": z[0]}`. A latent that is left out is at its mean,
            given those above it.
        kind: `slerp`, `lerp` or `great_circle`, or a function as `path` takes it.
        given: what the model conditions on, of one datum: `{"y": y[0]}`.
        site: the site to return.

    Raises:
        ShapeError: the codes are not of single data with equal shapes.
        PairError: the model lacks a site, a code is a label, or a latent that is left out has no mean.
    """
    return _decode_means(model, steps, path(start, end, steps, kind=kind), _repeat(given, steps), site)


def _repeat(one: Batch | None, size: int) -> dict[str, Tensor]:
    """The tensors of one datum, for `size` data."""
    return {name: tensor.expand(size, *tensor.shape) for name, tensor in (one or {}).items()}


class Traversal(NamedTuple):
    """What each dimension of a latent site does to the data, the dimensions of the highest rate first.

    Attributes:
        site: the latent site.
        dims: the R dimensions, numbered in the flattened code.
        rates: their rates, `(R,)`, nats per datum, as `dimension_rates` has them.
        t: the positions, `(T,)`, in standard deviations of the aggregate posterior.
        values: the numbers that the dimension takes there, `(R, T)`.
        codes: at the site, `(R, T, *event)`.
        x: the means of p(x | z), `(R, T, *event)`.
    """

    site: str
    dims: list[int]
    rates: Tensor
    t: Tensor
    values: Tensor
    codes: Tensor
    x: Tensor


def traverse(
    model: Program,
    guide: Program,
    data: Batch,
    *,
    site: str | None = None,
    dims: int = 10,
    steps: int = 9,
    extent: float = 2.0,
    code: Batch | None = None,
    given: Batch | None = None,
    transform: Any = None,
    seed: int = 0,
) -> Traversal:
    """Move one dimension of a code at a time, and decode.

    Dimension d goes over m_d + s_d t, t from -extent to extent, with m_d and s_d the mean and standard deviation of the
    aggregate posterior q(z_d) = mean over the data of q(z_d | x): there the data have their codes.

    Args:
        data: for the rates and the aggregate posterior.
        site: the latent site; the only one if not given.
        dims: how many dimensions, those of the highest rate.
        steps: T, decoded values of each.
        code: one datum's code, `{"z": z[0]}`, around which to go; the prior's mean if not given. Latents in it are
            held; those that it leaves out are at their mean given the ones above, so they follow the traversed one.
        given: what the model conditions on, of one datum: `{"y": y[0]}`.

    Raises:
        PairError: a site that is not there, is discrete, or several to choose from; a latent without a mean.
        ShapeError: the code is not of a single datum.

    References: Higgins et al. (2017), beta-VAE.
    """
    rates = dimension_rates(model, guide, data, transform=transform, seed=seed)
    site = _only(list(rates), site)
    drawn, shared = _encode(model, guide, data, transform, mean=False, seed=seed)
    z, code = drawn[site], {**shared, **(code or {})}
    if not z.is_floating_point():
        raise PairError(
            f"the latent '{site}' is a label, which has no dimensions to move along. Hold it at each of its values in "
            f"turn, code={{'{site}': torch.tensor(0)}}, and traverse another site."
        )
    centre = _decode_means(model, 1, _repeat(code, 1), _repeat(given, 1), site)[0]
    flat, rate = z.flatten(1), rates[site].flatten()
    order = rate.nan_to_num(0).argsort(descending=True, stable=True)[:dims]
    t = torch.linspace(-extent, extent, steps).to(flat)
    values = flat.mean(0)[order, None] + flat.std(0)[order, None] * t
    codes = centre.flatten().repeat(len(order), steps, 1)
    codes.scatter_(-1, order[:, None, None].expand(-1, steps, 1), values.unsqueeze(-1))
    codes = codes.reshape(len(order), steps, *centre.shape)
    count = len(order) * steps
    latents = {**_repeat(code, count), site: codes.flatten(0, 1)}
    x = _decode_means(model, count, latents, _repeat(given, count), "x").unflatten(0, (-1, steps))
    return Traversal(site, order.tolist(), rate[order], t, values, codes, x)


def _only(names: Sequence[str], site: str | None) -> str:
    """The site that is asked for, or the only one there is."""
    if site in names or (site is None and len(names) == 1):
        return site or names[0]
    problem = f"has no latent site '{site}' of its data" if site else "has several latent sites"
    raise PairError(f"the pair {problem}: choose site= of {', '.join(map(repr, names)) or 'none'}.")


def attribute(z: Tensor, has: Tensor) -> Tensor:
    """The direction of an attribute: the mean code of the data that have it minus that of the others, `(*event)`.

    Args:
        z: codes at one site, `(N, *event)`.
        has: whether each datum has it, `(N,)`, bool; `y == 3` for a label against the rest.

    Raises:
        ShapeError: `has` is not one bool for each code.
        DataError: all data have the attribute, or none.

    References: Larsen et al. (2016), arXiv:1512.09300; White (2016), arXiv:1609.04468.
    """
    if has.dtype != torch.bool or has.shape != z.shape[:1]:
        raise ShapeError(
            f"an attribute wants one bool for each of the codes {tuple(z.shape)}, got {tuple(has.shape)} of "
            f"{has.dtype}. Write y == 3 for label 3 against the rest."
        )
    has = has.to(z.device)
    if has.all() or not has.any():
        raise DataError(
            f"an attribute wants data with it and data without, got {int(has.sum())} with it of {len(has)}. Pass codes "
            "of both."
        )
    return z[has].mean(0) - z[~has].mean(0)


def vary(
    model: Program,
    codes: Batch,
    direction: Batch,
    *,
    strengths: Sequence[float] = (-2, -1, 0, 1, 2),
    given: Batch | None = None,
    site: str = "x",
) -> Tensor:
    """The means of p(x | z + t v) for each code z and each strength t, shape `(N, T, *event)`.

    Args:
        codes: of N data, as `encode` gives them; latents left out are at their mean given those above.
        direction: v, `{"z": attribute(z, y == 3)}`, `(*event)` at each site; 1 is the whole way from the data without
            the attribute to those with it.
        given: what the model conditions on, of the N data.

    Raises:
        PairError: a direction at a site without codes.
        ShapeError: shapes of codes and direction that differ.
    """
    size, t = batch_size(codes), torch.tensor(strengths, dtype=torch.get_default_dtype())
    for name, v in direction.items():
        if name not in codes:
            raise PairError(f"a direction at '{name}' wants codes there, got codes at {', '.join(map(repr, codes))}.")
        if v.shape != codes[name].shape[1:]:
            raise ShapeError(
                f"the direction at '{name}' has shape {tuple(v.shape)}, one code {tuple(codes[name].shape[1:])}. Write "
                f"{{'{name}': attribute({name}, y == 3)}}."
            )

    def each(tensor: Tensor) -> Tensor:
        """For each datum, each strength."""
        return tensor.repeat_interleave(len(t), 0)

    moved = {name: z for name, z in codes.items() if name not in direction}
    latents = {name: each(z) for name, z in moved.items()}
    for name, v in direction.items():
        latents[name] = each(codes[name]) + t.to(v).repeat(size).reshape(-1, *[1] * v.dim()) * v
    conditions = {name: each(tensor) for name, tensor in (given or {}).items()}
    return _decode_means(model, size * len(t), latents, conditions, site).unflatten(0, (size, len(t)))


class Neighbours(NamedTuple):
    """The k codes nearest to each query, the nearest first: their rows and distances, both `(Q, k)`."""

    rows: Tensor
    distance: Tensor


def neighbours(z: Tensor, query: Tensor, k: int = 5) -> Neighbours:
    """The exact nearest neighbours of `query`, `(Q, *event)`, among codes `z`, `(N, *event)`, by Euclidean distance.

    A datum of the set is its own nearest neighbour.

    Raises:
        ShapeError: codes of other shapes, or fewer than k of them.
    """
    if z.shape[1:] != query.shape[1:] or not 1 <= k <= len(z):
        raise ShapeError(
            f"neighbours wants k codes at least and queries of their shape, got k = {k}, codes {tuple(z.shape)}, "
            f"queries {tuple(query.shape)}. Write neighbours(z, z[:1], k=5)."
        )
    rows = max(1, CELLS // len(z))
    found = []
    for part in query.flatten(1).split(rows):
        # Not by matrix products, whose rounding puts a code at a distance from itself.
        distance = torch.cdist(part, z.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
        found.append(distance.topk(k, largest=False))
    return Neighbours(torch.cat([best.indices for best in found]), torch.cat([best.values for best in found]))


class LatentMap(NamedTuple):
    """Codes of the data and of the prior in one plane.

    Attributes:
        mean: of each q(z | x), `(N, 2)`.
        posterior: one draw of each q(z | x): the aggregate posterior, to be laid beside the prior, `(N, 2)`.
        prior: draws of p(z), `(N, 2)`; None where they were not asked for.
        axes: what to write at the two axes.
        plane: of a linear map, the plane in the latent space: `plane.lift(points)` are codes `(P, D)`. None of others.
    """

    mean: Tensor
    posterior: Tensor
    prior: Tensor | None
    axes: tuple[str, str]
    plane: Plane | None


def latent_map(
    model: Program,
    guide: Program,
    data: Batch,
    *,
    site: str | None = None,
    method: Method = "pca",
    prior: bool = True,
    transform: Any = None,
    seed: int = 0,
) -> LatentMap:
    """A map of one latent site in the plane, the aggregate posterior and the prior in the same one.

    `"pca"` is a linear map, along the two axes on which the means of q(z | x) differ most; draws of posterior and prior
    are projected on the same plane, so their difference there is real (and may be larger elsewhere). `"tsne"` and
    `"umap"` have no map outside of what they were fitted on, so they are fitted on the three together.

    Args:
        site: the latent site; the only one if not given. Its codes are flattened.
        prior: draw from the prior, as many as there are data. An improper one has no draws: `prior=False`.

    Raises:
        PairError: a site that is not there, is a label, or several to choose from; an improper prior.
        ShapeError: codes of fewer than 2 dimensions.
        MissingExtraError: scikit-learn (t-SNE) or umap-learn (UMAP) is not installed.
    """
    options = {"transform": transform, "seed": seed}
    means, draws = (encode(model, guide, data, mean=mean, **options) for mean in (True, False))
    site = _only(list(means), site)
    if not means[site].is_floating_point():
        raise PairError(f"the latent '{site}' is a label, which needs no map. Count it: codes['{site}'].bincount().")
    sets = [means[site], draws[site]]
    if prior:
        sets.append(_prior_draws(model, data, site, transform or unchanged, seed))
    sets = [z.flatten(1) for z in sets]
    plane = principal_plane(sets[0]) if method == "pca" else None
    points = [plane.project(z) for z in sets] if plane else embed(sets, method, seed=seed)  # type: ignore[arg-type]
    name = {"tsne": "t-SNE", "umap": "UMAP"}.get(method, method)
    axes = plane.axes if plane else (f"{name} 1", f"{name} 2")
    return LatentMap(points[0], points[1], points[2] if prior else None, axes, plane)


def _prior_draws(model: Program, data: Batch, site: str, transform: Any, seed: int) -> Tensor:
    """A draw of p(z), or of p(z | y) under the condition of each datum, `(N, *event)`."""
    device = device_of(model)
    with evaluating(model), seeded(seed, device):
        return torch.cat(
            [
                _decode(model, batch_size(batch), {}, {n: t for n, t in batch.items() if n != "x"}, site, mean=False)
                for batch in batches(data, CHUNK, transform, device)
            ]
        )
