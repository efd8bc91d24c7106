"""Denoising: a guide that infers from corrupted data, while the model scores the clean data."""

from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.errors import SupportError
from pyrovae.models.program import Program
from pyrovae.recorded import Recorded

__all__ = ["Corrupted", "Erasing", "GaussianNoise"]


class Corrupted(Program):
    """q(z | x~) with x~ ~ corruption(x) in training, and q(z | x) in evaluation mode.

    The model scores the clean x. So a pair with a `DeltaGuide` becomes a denoising autoencoder, one with a
    `NormalGuide` a denoising VAE. In both modes the ELBO is a lower bound of log p(x).

    Args:
        guide: any guide of x.
        corruption: a random map `(B, *event) -> (B, *event)`, such as `GaussianNoise` or `Erasing`.

    References: Vincent et al. (2008), Extracting and composing robust features with denoising autoencoders;
    Im et al. (2017), arXiv:1511.06406.
    """

    def __init__(self, guide: Any, corruption: nn.Module) -> None:
        super().__init__()
        self.guide, self.corruption = guide, corruption

    def forward(self, x: Tensor) -> Any:
        return self.guide(self.corruption(x) if self.training else x)


class GaussianNoise(Recorded, nn.Module):
    """Adds noise: x + scale * e, with e ~ Normal(0, I).

    Args:
        scale: the standard deviation of the noise, positive.

    Raises:
        SupportError: `scale` is not positive.
    """

    def __init__(self, scale: float = 0.3) -> None:
        super().__init__()
        if not scale > 0:
            raise SupportError(f"GaussianNoise requires scale > 0, got {scale}. Write scale=0.3 for images in [0, 1].")
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * torch.randn_like(x)

    def extra_repr(self) -> str:
        return f"{self.scale:g}"


class Erasing(Recorded, nn.Module):
    """Masking noise: sets each entry of x to 0 with the same probability, independently.

    Args:
        probability: that of an entry to be set to 0, in (0, 1).

    Raises:
        SupportError: `probability` is not in (0, 1).
    """

    def __init__(self, probability: float = 0.25) -> None:
        super().__init__()
        if not 0 < probability < 1:
            raise SupportError(
                f"Erasing requires a probability between 0 and 1, got {probability}. Write probability=0.25."
            )
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) >= self.probability)

    def extra_repr(self) -> str:
        return f"{self.probability:g}"
