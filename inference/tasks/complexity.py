"""The complexity of a data point: how long it is when it is compressed."""

import io
import math
import zlib

import torch
from torch import Tensor

from pyrovae.checks import check_tensor
from pyrovae.errors import DataError

__all__ = ["complexity"]


def complexity(x: Tensor) -> Tensor:
    """The compressed length of each data point in nats, `(N,)` in float64: an upper bound of its complexity.

    Images are compressed as 8-bit PNG, and their lengths contain the file's header, which is the same for all. Whole
    numbers are compressed by zlib.

    Args:
        x: images `(N, C, H, W)`, C = 1 or 3, with values in [0, 1]; or whole numbers in 0 ... 255 of any other shape.

    Raises:
        DataError: x is neither.
        ShapeError: x has no rows.

    References: Serrà et al. (2020), arXiv:1909.11480.
    """
    x = check_tensor("x", x, "(N, *event)", rows=1).detach().cpu()
    x = x.byte() if x.dtype == torch.bool else x
    if x.numel() == 0:
        raise DataError(f"complexity requires numbers, got x of shape {tuple(x.shape)}.")
    low, high = x.min().item(), x.max().item()
    if x.dim() == 4 and x.shape[1] in (1, 3) and x.is_floating_point() and low >= 0 and high <= 1:
        lengths = [len(_png(image)) for image in (x * 255).round().byte()]
    elif low >= 0 and high <= 255 and (x == x.round()).all():
        lengths = [len(zlib.compress(datum.numpy().tobytes(), 9)) for datum in x.byte()]
    else:
        raise DataError(
            "complexity requires images (N, C, H, W), C = 1 or 3, with values in [0, 1], or whole numbers in "
            f"0 ... 255, got {tuple(x.shape)} with values from {low:.3g} to {high:.3g}. Score such data by "
            "kind='evidence'."
        )
    return torch.tensor(lengths, dtype=torch.float64) * 8 * math.log(2)


def _png(image: Tensor) -> bytes:
    """Bytes `(C, H, W)` as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy()).save(file, "png", optimize=True)
    return file.getvalue()
