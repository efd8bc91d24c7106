"""Paths between two codes: the line, the arc, and the great circle through both."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from pyrovae.checks import check_count, check_tensor
from pyrovae.data import Batch
from pyrovae.data.named import named_tensors
from pyrovae.errors import PairError, SettingError, ShapeError

__all__ = ["Kind", "great_circle", "lerp", "path", "slerp"]

Kind = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A function of the start `(D,)`, the end `(D,)` and the weights `(T,)` to the codes `(T, D)`."""


def lerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """The straight line (1 - w) start + w end, `(T, *shape)`.

    Args:
        start, end: two codes of equal shape.
        weight: the weights w, `(T,)`.
    """
    start, end, weight = _ends("lerp", start, end, weight)
    weight = weight.reshape(-1, *[1] * start.dim())
    return (1 - weight) * start + weight * end


def slerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """The arc between two vectors at constant angular speed, `(T, D)`.

    A standard normal prior of many dimensions has its mass where |z| is nearly constant. The arc stays there; the
    straight line passes nearer to the origin. Between parallel vectors there is no arc, and the result is the line.

    Args:
        start, end: two codes, `(D,)`.
        weight: the share of the angle at each point, from 0 to 1, `(T,)`.

    References: Shoemake (1985), Animating rotation with quaternion curves.
    """
    start, end, weight = _ends("slerp", start, end, weight, dims=1)
    angle = _angle(start, end)
    if angle.sin() < 1e-3:  # float32 does not resolve smaller angles
        return lerp(start, end, weight)
    weight = weight.reshape(-1, 1)
    return (((1 - weight) * angle).sin() * start + (weight * angle).sin() * end) / angle.sin()


def great_circle(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """The whole circle about the origin from one vector through the other and back, `(T, D)`.

    The point at weight w is r(t) (cos t e1 + sin t e2) with t = 2 pi w, where e1 is the direction of `start`, and e2 is
    orthogonal to it in the plane of both vectors. If the two are equally long, r is their length. Otherwise r is linear
    in t from one length to the other, and back over the rest of the circle.

    Args:
        start, end: two codes that are not parallel, `(D,)`.
        weight: the share of the circle at each point, from 0 to 1, `(T,)`.

    Raises:
        ShapeError: the vectors are parallel or 0, so they do not determine a plane.
    """
    start, end, weight = _ends("great_circle", start, end, weight, dims=1)
    angle = _angle(start, end)
    if angle.sin() < 1e-3 or not start.any() or not end.any():
        raise ShapeError(
            "great_circle requires codes that are not parallel, got parallel ones, which lie on many great circles. "
            "Choose codes of other directions, or write kind=lerp for the line."
        )
    e1 = normalize(start, dim=-1)
    e2 = normalize(end - (end @ e1) * e1, dim=-1)
    turn = 2 * math.pi * weight.reshape(-1, 1)
    t = turn.remainder(2 * math.pi)
    share = torch.where(t < angle, t / angle, (2 * math.pi - t) / (2 * math.pi - angle))
    radius = (1 - share) * start.norm() + share * end.norm()
    return radius * (turn.cos() * e1 + turn.sin() * e2)


def _ends(what: str, start: Any, end: Any, weight: Any, dims: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Two codes of one shape and the weights, checked."""
    shape = "(*shape,)" if dims is None else "(D,)"
    start, end = (check_tensor(f"{what}({name}=)", z, shape, dims=dims) for name, z in (("start", start), ("end", end)))
    if start.shape != end.shape or not (start.is_floating_point() and end.is_floating_point()):
        raise ShapeError(
            f"{what} requires two codes of floats of one shape, got {tuple(start.shape)} of {start.dtype} and "
            f"{tuple(end.shape)} of {end.dtype}. Write {what}(z[0], z[1], weights)."
        )
    floats = torch.promote_types(start.dtype, end.dtype)
    weight = check_tensor(f"{what}(weight=)", weight, "(T,)", dims=1)
    return start.to(floats), end.to(floats), weight.float() if weight.dtype == torch.bool else weight


def _angle(start: Tensor, end: Tensor) -> Tensor:
    return cosine_similarity(start, end, dim=-1).clamp(-1, 1).acos()


def path(start: Batch, end: Batch, num_steps: int = 10, *, kind: Kind = slerp) -> dict[str, Tensor]:
    """Codes along a path from one code to another, `(T, *event)` at each site.

    Args:
        start, end: one code each, `{"z": z[0]}`.
        num_steps: T, the number of codes on the path.
        kind: `slerp`, `lerp` or `great_circle`, or another function of start `(D,)`, end `(D,)` and weights `(T,)`. It
            gets the codes as vectors.

    Raises:
        DataError: start or end is no named tensors.
        SettingError: num_steps is no whole number of at least 1, or `kind` no function.
        ShapeError: the codes differ in sites or shapes.
        PairError: a code is a label: there is nothing between two labels.
    """
    num_steps, codes = check_count("num_steps", num_steps, write=10), {}
    start, end = named_tensors("path", start), named_tensors("path", end)
    if not callable(kind):
        raise SettingError(
            f"kind requires a path, such as slerp, lerp or great_circle, got {kind!r}. Write kind=slerp."
        )
    for name, code in start.items():
        if name not in end or code.shape != end[name].shape:
            got = tuple(end[name].shape) if name in end else "none"
            raise ShapeError(
                f"path requires two codes of equal shape at '{name}', got {tuple(code.shape)} and {got}. Write "
                f"{{'{name}': {name}[0]}} and {{'{name}': {name}[1]}}."
            )
        if not code.is_floating_point():
            raise PairError(
                f"path requires codes of floats, and the code at '{name}' is a label: there is nothing between two "
                f"labels. Leave '{name}' out of both."
            )
        weights = torch.linspace(0, 1, num_steps, device=code.device, dtype=code.dtype)
        codes[name] = kind(code.flatten(), end[name].to(code).flatten(), weights).reshape(num_steps, *code.shape)
    return codes
