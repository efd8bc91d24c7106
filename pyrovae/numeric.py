"""Numerical helpers on tensors: bounded scales, logarithms that do not cancel, and double precision.

This module depends on torch alone, so every module may import it.
"""

import torch
from torch import Tensor

from pyrovae.imports import private

__all__ = ["bounded_scale", "has_values", "log1mexp", "raw_scale", "wide"]

FakeTensor = private("torch._subclasses.fake_tensor", "FakeTensor")


def bounded_scale(raw: Tensor, bound: float = 7.0) -> Tensor:
    """A positive scale, exp(bound tanh(raw / bound)): about exp(raw) near 0, and in (e^-bound, e^bound) everywhere.

    With the default bound, the gradient does not vanish up to |raw| = 50.

    Args:
        raw: unconstrained numbers of any shape, as a network emits them.
        bound: the largest absolute value of the logarithm of the scale.
    """
    return torch.exp(bound * torch.tanh(raw / bound))


def has_values(tensor: Tensor) -> bool:
    """Whether the numbers of a tensor are known: while a step is captured for compilation, only its shape is.

    Args:
        tensor: any tensor.
    """
    return not isinstance(tensor, FakeTensor)


def raw_scale(scale: Tensor, bound: float = 7.0) -> Tensor:
    """The inverse of `bounded_scale`: bound atanh(log(scale) / bound).

    The logarithm is first clamped to [1 - bound, bound - 1], because the gradient vanishes at the bounds.

    Args:
        scale: positive numbers of any shape.
        bound: that of `bounded_scale`.
    """
    return bound * torch.atanh(scale.log().clamp(1 - bound, bound - 1) / bound)


def log1mexp(width: Tensor) -> Tensor:
    """log(1 - e^-width), without cancellation for small widths.

    Args:
        width: positive numbers of any shape.
    """
    return (-torch.expm1(-width)).log()


def wide(x: Tensor) -> Tensor:
    """`x` in float64; on Apple's GPUs, which lack float64, `x` itself.

    Args:
        x: a tensor of any shape.
    """
    return x if x.device.type == "mps" else x.double()
