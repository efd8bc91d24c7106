"""Paths between two codes: the line, the arc, and the great circle through both."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from pyrovae.data import Batch
from pyrovae.errors import PairError, ShapeError

__all__ = ["Kind", "great_circle", "lerp", "path", "slerp"]

Kind = Callable[[Tensor, Tensor, Tensor], Tensor]  # of start (D,), end (D,) and weights (T,) to (T, D)


def lerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """The straight line (1 - w) start + w end, `(T, *start.shape)`.

    Args:
        start, end: the ends, of equal shape.
        weight: w, `(T,)`, from 0 to 1.
    """
    weight = weight.reshape(-1, *[1] * start.dim())
    return (1 - weight) * start + weight * end


def slerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """The arc at constant angular speed between two vectors, `(T, D)`.

    A normal prior of many dimensions has its mass where |z| is nearly constant. The arc stays there, while the
    straight line passes through the middle. Parallel vectors have no arc, and get the line.

    Args:
        start, end: the ends, `(D,)`.
        weight: the share of the angle, `(T,)`, from 0 to 1.

    References: Shoemake (1985), Animating rotation with quaternion curves.
    """
    angle = _angle(start, end)
    if angle.sin() < 1e-3:  # as near as float32 can tell
        return lerp(start, end, weight)
    weight = weight.reshape(-1, 1)
    return (((1 - weight) * angle).sin() * start + (weight * angle).sin() * end) / angle.sin()


def great_circle(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """The circle about the origin that starts at one vector, passes through the other, and closes, `(T, D)`.

    It is r(t) (cos t e1 + sin t e2) with t = 2 pi w, e1 along `start` and e2 in the plane of both vectors. Where the
    vectors have equal lengths it stays on their sphere; otherwise r changes linearly from one length to the other, and
    back on the rest of the circle.

    Args:
        start, end: the vectors, `(D,)`.
        weight: w, the share of the whole turn, `(T,)`, from 0 to 1.

    Raises:
        ShapeError: the vectors are parallel or 0, so they lie in no one plane.
    """
    angle = _angle(start, end)
    if angle.sin() < 1e-3 or not start.any() or not end.any():
        raise ShapeError(
            "two parallel codes lie on many great circles. Choose codes of other directions, or kind=lerp for the line."
        )
    e1 = normalize(start, dim=-1)
    e2 = normalize(end - (end @ e1) * e1, dim=-1)
    turn = 2 * math.pi * weight.reshape(-1, 1)
    t = turn.remainder(2 * math.pi)
    share = torch.where(t < angle, t / angle, (2 * math.pi - t) / (2 * math.pi - angle))
    radius = (1 - share) * start.norm() + share * end.norm()
    return radius * (turn.cos() * e1 + turn.sin() * e2)


def _angle(start: Tensor, end: Tensor) -> Tensor:
    return cosine_similarity(start, end, dim=-1).clamp(-1, 1).acos()


def path(start: Batch, end: Batch, num_steps: int = 10, *, kind: Kind = slerp) -> dict[str, Tensor]:
    """Codes along a path from one code to another, `(T, *event)` at each site.

    Args:
        start, end: one code each, `{"z": z[0]}`.
        num_steps: T, the number of codes on the path.
        kind: `slerp`, `lerp` or `great_circle`, or a function of start, end and weights `(T,)`; codes come to it as
            vectors `(D,)`.

    Raises:
        ShapeError: the codes differ in sites or shapes.
        PairError: a code is a label, and labels have nothing between them.
    """
    codes = {}
    for name, code in start.items():
        if name not in end or code.shape != end[name].shape:
            got = tuple(end[name].shape) if name in end else "none"
            raise ShapeError(
                f"path requires two codes of equal shape at '{name}', got {tuple(code.shape)} and {got}. Write "
                f"{{'{name}': {name}[0]}} and {{'{name}': {name}[1]}}."
            )
        if not code.is_floating_point():
            raise PairError(f"the code at '{name}' is a label: nothing lies between two. Leave '{name}' out of both.")
        weights = torch.linspace(0, 1, num_steps, device=code.device, dtype=code.dtype)
        codes[name] = kind(code.flatten(), end[name].to(code).flatten(), weights).reshape(num_steps, *code.shape)
    return codes
