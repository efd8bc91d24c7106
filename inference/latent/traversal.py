"""Traversal."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import DataError, PairError, ShapeError
from pyrovae.inference.latent.codes import decode_means, encode_shared, repeat
from pyrovae.inference.latent.paths import Kind, path, slerp
from pyrovae.inference.latent.rates import dimension_rates
from pyrovae.inference.pair.contract import ProgramLike, batch_size

__all__ = ["Traversal", "attribute", "interpolate", "only_latent", "traverse", "vary"]


def interpolate(
    model: ProgramLike,
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
    return decode_means(model, steps, path(start, end, steps, kind=kind), repeat(given, steps), site)


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
    model: ProgramLike,
    guide: ProgramLike,
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
    site = only_latent(list(rates), site)
    drawn, shared = encode_shared(model, guide, data, transform, mean=False, seed=seed)
    z, code = drawn[site], {**shared, **(code or {})}
    if not z.is_floating_point():
        raise PairError(
            f"the latent '{site}' is a label, which has no dimensions to move along. Hold it at each of its values in "
            f"turn, code={{'{site}': torch.tensor(0)}}, and traverse another site."
        )
    centre = decode_means(model, 1, repeat(code, 1), repeat(given, 1), site)[0]
    flat, rate = z.flatten(1), rates[site].flatten()
    order = rate.nan_to_num(0).argsort(descending=True, stable=True)[:dims]
    t = torch.linspace(-extent, extent, steps).to(flat)
    values = flat.mean(0)[order, None] + flat.std(0)[order, None] * t
    codes = centre.flatten().repeat(len(order), steps, 1)
    codes.scatter_(-1, order[:, None, None].expand(-1, steps, 1), values.unsqueeze(-1))
    codes = codes.reshape(len(order), steps, *centre.shape)
    count = len(order) * steps
    latents = {**repeat(code, count), site: codes.flatten(0, 1)}
    x = decode_means(model, count, latents, repeat(given, count), "x").unflatten(0, (-1, steps))
    return Traversal(site, order.tolist(), rate[order], t, values, codes, x)


def only_latent(names: Sequence[str], site: str | None) -> str:
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
    model: ProgramLike,
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
    return decode_means(model, size * len(t), latents, conditions, site).unflatten(0, (size, len(t)))
