"""Numeric."""

import torch
from torch import Tensor

__all__ = ["bounded_scale", "wide"]


def bounded_scale(raw: Tensor, bound: float = 7.0) -> Tensor:
    """A scale in (e^-7, e^7), about exp(raw) near 0, with a gradient up to |raw| = 50: exp(7 tanh(raw / 7))."""
    return torch.exp(bound * torch.tanh(raw / bound))


def wide(x: Tensor) -> Tensor:
    """In float64, but on Apple's GPUs, which have none."""
    return x if x.device.type == "mps" else x.double()
