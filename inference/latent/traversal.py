"""Data decoded along a path through the latent space: between codes, along a dimension, or along an attribute."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_number, check_several, check_tensor
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.errors import DataError, PairError, ShapeError
from pyrovae.inference.latent.codes import decode_at_means, encode_all, repeated
from pyrovae.inference.latent.paths import Kind, path, slerp
from pyrovae.inference.latent.rates import dimension_rates
from pyrovae.inference.latent.support import Support
from pyrovae.inference.pair.contract import ProgramLike, batch_size, filled
from pyrovae.inference.pair.entry import conditioned, entered
from pyrovae.inference.pair.running import Transform

__all__ = ["Traversal", "attribute", "interpolate", "only_latent", "traverse", "vary"]


def interpolate(
    model: ProgramLike,
    start: Batch,
    end: Batch,
    *,
    num_steps: int = 10,
    kind: Kind = slerp,
    given: Batch | None = None,
    site: str = "x",
) -> Tensor:
    """The means of p(x | z) along a path between two codes, `(T, *event)`.

    Args:
        model: the program.
        start, end: one code each, as `encode` returns them: `{"z": z[0]}`. A latent that is left out has its mean given
            the latents above it.
        num_steps: T, the number of codes on the path.
        kind: `slerp`, `lerp` or `great_circle`, or another function as in `path`.
        given: the tensors that the model conditions on, of one data point: `{"y": y[0]}`.
        site: the observed site to return.

    Raises:
        ShapeError: start and end are not single codes of equal shape.
        PairError: the model lacks a site, a code is a label, or a latent that is left out has no mean.
    """
    codes = path(conditioned("interpolate", model, start), conditioned("interpolate", model, end), num_steps, kind=kind)
    given = repeated(conditioned("interpolate", model, given), len(next(iter(codes.values()), ())))
    return decode_at_means(model, num_steps, codes, given, site)


@dataclass(frozen=True, repr=False)
class Traversal(Shown):
    """Data decoded from codes that differ in one dimension of a latent site; dimensions of the highest rate come first.

    Attributes:
        latent: the latent site.
        dims: the R dimensions, numbered in the flattened code.
        rates: the rates of these dimensions by `dimension_rates`, `(R,)`, in nats per data point.
        t: the positions, `(T,)`, in standard deviations of the aggregate posterior; of a latent with a bounded support,
            those of a normal distribution with the same quantiles.
        values: the values of each dimension at these positions, `(R, T)`.
        codes: the codes at the site, `(R, T, *event)`.
        x: the means of p(x | z), `(R, T, *event)`.
    """

    latent: str
    dims: list[int]
    rates: Tensor
    t: Tensor
    values: Tensor
    codes: Tensor
    x: Tensor

    def cells(self) -> Cells:
        rows = [
            (f"{self.latent}[{dim}]", f"{rate:.3f}", f"{values[0]:.3f}", f"{values[-1]:.3f}")
            for dim, rate, values in zip(self.dims, self.rates.tolist(), self.values.tolist(), strict=True)
        ]
        after = [f"{len(self.t)} values of each; rates in nats per data point"]
        return Cells(rows, ("dimension", "rate", "from", "to"), after=after)


def traverse(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    latent: str | None = None,
    num_dims: int = 10,
    num_steps: int = 9,
    extent: float = 2.0,
    code: Batch | None = None,
    given: Batch | None = None,
    transform: Transform | None = None,
    seed: int = 0,
) -> Traversal:
    """Move one dimension of a code at a time, and decode.

    Dimension d takes the values m_d + s_d t for t from -extent to extent, where m_d and s_d are the mean and the
    standard deviation of the aggregate posterior q(z_d) = mean over the data of q(z_d | x). Where the support of the
    prior is not all of R, such as that of a Gamma, they are the quantiles of q(z_d) at Phi(t) instead, which lie in the
    support; on a simplex or sphere, the other entries of the code follow.

    Args:
        model, guide: the pair.
        data: named tensors of N data points, for the rates and the aggregate posterior.
        latent: the latent site; the only one if not given.
        num_dims: R, the number of dimensions; those of the highest rate are taken.
        num_steps: T, the number of values of each dimension.
        extent: the largest t, in standard deviations.
        code: the code of one data point to start from, `{"z": z[0]}`; the prior's mean if not given. Latents in it are
            held fixed. A latent that it leaves out has its mean given the latents above it, so it follows them.
        given: the tensors that the model conditions on, of one data point: `{"y": y[0]}`.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        seed: the seed of the draws; the global random state is left alone.

    Raises:
        PairError: fewer than two data points; the site does not exist or is discrete; there are several to choose from;
            a latent has no mean.
        SettingError: a number of dimensions or steps below 1, or an extent that is not finite.
        ShapeError: the code is not that of a single data point.

    References: Higgins et al. (2017), beta-VAE.
    """
    num_dims, num_steps = check_count("num_dims", num_dims, write=10), check_count("num_steps", num_steps, write=9)
    extent = check_number("extent", extent, -1e6, 1e6, write=2.0)
    data = entered("traverse", data, transform, model, guide)
    _refuse_empty(code)
    code, given = conditioned("traverse", model, code), conditioned("traverse", model, given)
    if batch_size(data) < 2:
        raise PairError("traverse requires at least two data points, whose codes have a spread, got one. Pass more.")
    rates = dimension_rates(model, guide, data, transform=transform, seed=seed)
    latent = only_latent(list(rates), latent)
    encoded = encode_all(model, guide, data, transform=transform, mean=False, seed=seed)
    z, code = encoded.codes[latent], {**encoded.shared, **code}
    if not z.is_floating_point():
        raise PairError(
            f"the latent '{latent}' is a label, which has no dimensions to move along. Hold it at each of its values "
            f"in turn, code={{'{latent}': torch.tensor(0)}}, and traverse another latent."
        )
    centre = decode_at_means(model, 1, repeated(code, 1), repeated(given, 1), latent)[0]
    flat, rate = z.flatten(1), rates[latent].flatten()
    order, t = _largest(rate, num_dims), torch.linspace(-extent, extent, num_steps).to(flat)
    support = Support.of(model, guide, data, latent, transform)
    values = support.positions(flat[:, order], t)
    codes = _moved(centre, order, values, support)
    count = len(order) * num_steps
    latents = {**repeated(code, count), latent: codes.flatten(0, 1)}
    x = decode_at_means(model, count, latents, repeated(given, count), "x")
    return Traversal(latent, order.tolist(), rate[order], t, values, codes, x.unflatten(0, (-1, num_steps)))


def _largest(rate: Tensor, count: int) -> Tensor:
    """The dimensions of the highest rates."""
    return rate.nan_to_num(0).argsort(descending=True, stable=True)[:count]


def _refuse_empty(code: Batch | None) -> None:
    if code is not None and hasattr(code, "__len__") and not len(code):
        raise DataError('traverse requires a code of at least one latent, got none. Write code={"z": z[0]}, or None.')


def _moved(centre: Tensor, order: Tensor, values: Tensor, support: Support) -> Tensor:
    """The code `centre`, `(*event)`, with dimension r set to each of `values`, `(R, T)`: `(R, T, *event)`."""
    codes = centre.flatten().repeat(*values.shape, 1)
    places = order[:, None, None].expand(-1, values.shape[1], 1)
    codes.scatter_(-1, places, values.unsqueeze(-1))
    moved = torch.zeros_like(codes, dtype=torch.bool).scatter_(-1, places, True)
    shape = (*values.shape, *centre.shape)
    return support.completed(codes.reshape(shape), moved.reshape(shape))


def only_latent(names: Sequence[str], latent: str | None) -> str:
    """The requested latent site, or the only one.

    Args:
        names: the latent sites of the pair.
        latent: one of them, or None.

    Raises:
        PairError: there is no such site, or several to choose from.
    """
    if latent in names or (latent is None and len(names) == 1):
        return latent or names[0]
    problem = f"has no latent site '{latent}' in the plate 'data'" if latent else "has several latent sites"
    raise PairError(f"the pair {problem}. Write latent= with one of {', '.join(map(repr, names)) or '(none)'}.")


def attribute(z: Tensor, has: Tensor) -> Tensor:
    """The direction of an attribute, `(*event)`: the mean code of the data with it minus that of the data without.

    Args:
        z: codes at one site, `(N, *event)`.
        has: whether each data point has the attribute, `(N,)`, bool; `y == 3` for a label against the rest.

    Raises:
        ShapeError: `has` is not one bool for each code.
        DataError: all data points have the attribute, or none.

    References: Larsen et al. (2016), arXiv:1512.09300; White (2016), arXiv:1609.04468.
    """
    z, has = check_tensor("z", z, "(N, *event)", least_dims=1), check_tensor("has", has, "(N,), bool")
    if has.dtype != torch.bool or has.shape != z.shape[:1]:
        raise ShapeError(
            f"attribute requires one bool for each of the codes {tuple(z.shape)}, got {tuple(has.shape)} of "
            f"{has.dtype}. Write y == 3 for label 3 against the rest."
        )
    if not z.is_floating_point():
        raise DataError(f"attribute requires codes of floats, got {z.dtype}. Pass the codes of a continuous latent.")
    has = has.to(z.device)
    if has.all() or not has.any():
        raise DataError(
            f"attribute requires data with it and data without, got {int(has.sum())} with it of {len(has)}. Pass codes "
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
    """The means of p(x | z + t v) for each code z and each strength t, `(N, T, *event)`.

    Args:
        model: the program.
        codes: the codes of N data points, as `encode` returns them. A latent that is left out has its mean given the
            latents above it.
        direction: v, `(*event)` at each site, such as `{"z": attribute(z, y == 3)}`. A strength of 1 moves a code by
            the difference of the two means.
        strengths: the T values of t.
        given: the tensors that the model conditions on, N rows.
        site: the observed site to return.

    Raises:
        PairError: a direction at a site without codes.
        SettingError: a strength that is no finite number.
        ShapeError: the shapes of a code and its direction differ.
    """
    codes, direction = conditioned("vary", model, codes), conditioned("vary", model, direction)
    given, size = conditioned("vary", model, given), filled("vary", codes)
    t = torch.tensor([check_number("strengths", t) for t in check_several("strengths", strengths)])
    _check_direction(codes, direction)

    def each(tensor: Tensor) -> Tensor:
        """Each row, once for each strength."""
        return tensor.repeat_interleave(len(t), 0)

    held = {name: z for name, z in codes.items() if name not in direction}
    latents = {name: each(z) for name, z in held.items()}
    for name, v in direction.items():
        latents[name] = each(codes[name]) + t.to(v).repeat(size).reshape(-1, *[1] * v.dim()) * v
    conditions = {name: each(tensor) for name, tensor in given.items()}
    return decode_at_means(model, size * len(t), latents, conditions, site).unflatten(0, (size, len(t)))


def _check_direction(codes: Batch, direction: Batch) -> None:
    for name, v in direction.items():
        if name not in codes:
            raise PairError(
                f"a direction at '{name}' requires codes there, got codes at {', '.join(map(repr, codes))}. Pass codes "
                f"at '{name}' too."
            )
        if v.shape != codes[name].shape[1:]:
            raise ShapeError(
                f"the direction at '{name}' has shape {tuple(v.shape)}, and one code there has "
                f"{tuple(codes[name].shape[1:])}. Write {{'{name}': attribute({name}, y == 3)}}."
            )
