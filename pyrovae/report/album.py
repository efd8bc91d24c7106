"""Data points as a page shows them: images in one sprite sheet, anything else as rows of numbers."""

import base64
import io
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pyrovae.imports import imported
from pyrovae.plots.levels import Levels

__all__ = ["Camera"]

NUMBERS = 256
"""How many numbers of a data point that is no image are shown at most."""


@dataclass(frozen=True)
class Camera:
    """How data points of one shape are shown: as images, `(N, C, H, W)` with C = 1 or 3, or as numbers.

    Attributes:
        images: whether the data points are images.
        levels: the values shown as black and as white.
    """

    images: bool
    levels: Levels = field(default_factory=Levels)

    @classmethod
    def of(cls, x: Tensor) -> "Camera":
        """The camera for data points like `x`."""
        if not (x.dim() == 4 and x.shape[1] in (1, 3) and min(x.shape[2:]) > 1):
            return cls(images=False)
        return cls(True, Levels.of(x))

    def album(self, x: Tensor, budget: int = 400_000) -> dict[str, Any]:
        """What the page needs to show each data point.

        Args:
            x: `(N, *event)`.
            budget: about how many bytes the album may have.
        """
        x = x.detach().float().cpu()
        return self._sheet(x, budget) if self.images else _numbers(x, budget)

    def _sheet(self, x: Tensor, budget: int) -> dict[str, Any]:
        """One PNG with all images. They shrink until noise, which hardly compresses, would fit the budget."""
        pixels = self.levels.shown(x)
        if pixels.numel() > budget:
            share = math.sqrt(budget / pixels.numel())
            size = [max(4, int(side * share)) for side in pixels.shape[2:]]
            pixels = interpolate(pixels, size, mode="area")
        count, channels, height, width = pixels.shape
        columns = math.ceil(math.sqrt(count))
        rows = math.ceil(count / columns)
        blank = pixels.new_ones(rows * columns - count, channels, height, width)
        tiles = torch.cat([pixels, blank]).unflatten(0, (rows, columns))
        sheet = tiles.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
        source = _data_uri((255 * sheet).round().to(torch.uint8))
        return {"kind": "images", "source": source, "columns": columns, "width": width, "height": height}


def _data_uri(pixels: Tensor) -> str:
    """A picture, uint8 `(H, W, C)`, as the address of a PNG that holds it."""
    pillow, file = imported("PIL.Image", "A report requires", "Pillow"), io.BytesIO()
    pillow.fromarray(pixels.squeeze(-1).numpy()).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _numbers(x: Tensor, budget: int) -> dict[str, Any]:
    """Rows of numbers to three digits; long data points are shown by evenly spaced entries."""
    rows = x.flatten(1) if x.dim() > 1 else x[:, None]
    most = max(1, min(NUMBERS, budget // (8 * len(rows))))
    kept = range(0, rows.shape[1], -(-rows.shape[1] // most))
    values = [[float(f"{value:.3g}") for value in row] for row in rows[:, list(kept)].tolist()]
    return {"kind": "numbers", "values": values, "names": [f"x{i + 1}" for i in kept]}
