"""Denoising: a guide that sees corrupted data, of a model that scores the clean ones."""

from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.errors import SupportError
from pyrovae.models import Program

__all__ = ["Corrupted", "Erasing", "GaussianNoise"]


class Corrupted(Program):
    """q(z | x~), x~ ~ corruption(x), in training; q(z | x) in evaluation mode.

    The model scores the clean x, so a `DeltaGuide` becomes a denoising autoencoder, a `NormalGuide` a denoising VAE.
    In both modes the ELBO is a lower bound of log p(x).

    Args:
        guide: any guide of x.
        corruption: a module `(B, *event) -> (B, *event)`, random.

    References: Vincent et al. (2008), Extracting and composing robust features with denoising autoencoders;
    Im et al. (2017), arXiv:1511.06406.
    """

    def __init__(self, guide: Any, corruption: nn.Module) -> None:
        super().__init__()
        self.guide, self.corruption = guide, corruption

    def forward(self, x: Tensor) -> Any:
        return self.guide(self.corruption(x) if self.training else x)


class GaussianNoise(nn.Module):
    """x + scale * e, e ~ Normal(0, I)."""

    def __init__(self, scale: float = 0.3) -> None:
        super().__init__()
        if not scale > 0:
            raise SupportError(f"GaussianNoise wants scale > 0, got {scale}. 0.3 suits images in [0, 1].")
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * torch.randn_like(x)

    def extra_repr(self) -> str:
        return f"{self.scale:g}"


class Erasing(nn.Module):
    """Each number of x set to 0 with a probability of its own draw: masking noise."""

    def __init__(self, probability: float = 0.25) -> None:
        super().__init__()
        if not 0 < probability < 1:
            raise SupportError(f"Erasing wants a probability between 0 and 1, got {probability}. 0.25 is a start.")
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) >= self.probability)

    def extra_repr(self) -> str:
        return f"{self.probability:g}"
