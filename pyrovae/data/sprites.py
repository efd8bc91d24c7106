"""Sprites: binary images whose factors of variation are known, drawn from formulas."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pyrovae.data.dataset import SPLIT_SEED, Batch, Dataset, hold_out, shuffle

__all__ = ["FACTORS", "draw", "load_sprites"]

SIDE = 32

# Which points are inside, `u` to the right and `v` upwards. The areas are equal, so that they do not tell the shape.
SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "square": lambda u, v: torch.maximum(u.abs(), v.abs()) < 0.73,
    "ellipse": lambda u, v: (u / 1.05) ** 2 + (v / 0.65) ** 2 < 1,
    "heart": lambda u, v: ((1.3 * u) ** 2 + (1.3 * v + 0.1) ** 2 - 1) ** 3 < (1.3 * u) ** 2 * (1.3 * v + 0.1) ** 3,
}

RADII = (6.4, 7.4, 8.4, 9.4, 10.4)  # pixels
# A square looks the same after 90 degrees, an ellipse after 180. Within 70 degrees all orientations differ.
ANGLES = tuple(math.radians(degrees) for degrees in (-35, -21, -7, 7, 21, 35))
CENTRES = tuple(10.5 + step for step in range(11))  # pixels from the left, or from the top

FACTORS = {
    "shape": len(SHAPES),
    "scale": len(RADII),
    "orientation": len(ANGLES),
    "column": len(CENTRES),
    "row": len(CENTRES),
}
"""The factors of the sprites, and how many values each has."""


def draw() -> Batch:
    """Each combination of factors once: `x` uint8 `(N, 1, 32, 32)` of 0 and 255, and each factor, int64 `(N,)`."""
    axes = (RADII, ANGLES, CENTRES, CENTRES, range(SIDE), range(SIDE))
    radius, angle, column, row, down, right = torch.meshgrid(*(torch.tensor([*a]).float() for a in axes), indexing="ij")
    across, up, cos, sin = right - column, row - down, angle.cos(), angle.sin()
    u, v = (cos * across + sin * up) / radius, (cos * up - sin * across) / radius
    x = torch.stack([inside(u, v) for inside in SHAPES.values()])
    values = torch.cartesian_prod(*map(torch.arange, FACTORS.values()))
    factors = dict(zip(FACTORS, values.T.contiguous(), strict=True))
    return {"x": x.reshape(-1, 1, SIDE, SIDE) * torch.tensor(255, dtype=torch.uint8), **factors}


def load_sprites(valid: int | None) -> Dataset:
    """The sprites, shuffled and split, 7,890 / 1,000 / 2,000.

    Args:
        valid: the number of sprites held out for validation; 1,000 by default.
    """
    pool, test = hold_out(shuffle(draw()), 2_000)
    train, held = hold_out(pool, 1_000 if valid is None else valid)
    return Dataset(train, held, test, "sprites", f"drawn from formulas, shuffled (seed {SPLIT_SEED}), then split")
