"""What a pair of the suite is in the tests, and the sizes of the small ones."""

from typing import NamedTuple

from torch import Tensor, nn

__all__ = ["CLASSES", "IMAGE", "LATENT", "SIZE", "Pair"]

IMAGE, LATENT, SIZE, CLASSES = (1, 12, 10), 3, 6, 4


class Pair(NamedTuple):
    """A pair of the suite, a batch for it, and the event shape of each latent."""

    model: nn.Module
    guide: nn.Module
    batch: dict[str, Tensor]
    latent: dict[str, tuple[int, ...]]
