"""Data as a page shows them: images in one sprite sheet, anything else as rows of numbers."""

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["Camera"]

NUMBERS = 256  # of one datum that is no image, at most


@dataclass(frozen=True)
class Camera:
    """How data of one shape are shown: images, `(N, C, H, W)` with C = 1 or 3, or numbers.

    Attributes:
        images: whether the data are images.
        low, high: the values that are black and white; 0 and 1 wherever the data lie between them.
    """

    images: bool
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(cls, x: Tensor) -> "Camera":
        """The camera for data like these."""
        if not (x.dim() == 4 and x.shape[1] in (1, 3) and min(x.shape[2:]) > 1):
            return cls(images=False)
        low, high = (float(extreme) for extreme in x.float().aminmax())
        return cls(True, min(low, 0.0), max(high, 1.0))

    def album(self, x: Tensor, budget: int = 400_000) -> dict[str, Any]:
        """What the page needs to show each of `x`, `(N, *event)`, of at most about `budget` bytes."""
        x = x.detach().float().cpu()
        return self._sheet(x, budget) if self.images else _numbers(x, budget)

    def _sheet(self, x: Tensor, budget: int) -> dict[str, Any]:
        """A PNG with all images side by side; they shrink until it fits, as noise hardly compresses."""
        pixels = ((x - self.low) / (self.high - self.low)).clamp(0, 1)
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
        source = data_uri((255 * sheet).round().to(torch.uint8))
        return {"kind": "images", "source": source, "columns": columns, "width": width, "height": height}


def data_uri(pixels: Tensor) -> str:
    """A picture, uint8 `(H, W, C)`, as the address of a PNG that holds it."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1).numpy()).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _numbers(x: Tensor, budget: int) -> dict[str, Any]:
    """Rows of numbers to three digits; of long data evenly spaced entries."""
    rows = x.flatten(1) if x.dim() > 1 else x[:, None]
    most = max(1, min(NUMBERS, budget // (8 * len(rows))))
    kept = range(0, rows.shape[1], -(-rows.shape[1] // most))
    values = [[float(f"{value:.3g}") for value in row] for row in rows[:, list(kept)].tolist()]
    return {"kind": "numbers", "values": values, "names": [f"x{i + 1}" for i in kept]}
