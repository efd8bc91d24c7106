"""Numerical helpers on tensors: bounded scales, logarithms that do not cancel, and double precision.

This module depends on torch alone, so every module may import it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyrovae.imports import private

__all__ = ["bounded_scale", "has_values", "log1mexp", "log_binomial", "raw_scale", "wide"]

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


def log_binomial(r: Tensor, x: Tensor) -> Tensor:
    """log of Gamma(r + x) / (Gamma(r) x!), the coefficient of a negative binomial; r and x broadcast.

    It has a gradient with respect to r alone, and no second one. Value and gradient are Stirling's series beyond a
    shift by 6, in float64 within 1e-9; of more than a thousand counts the value loses a few roundings of x log(r + x).
    A compiled `lgamma` of torch's takes three times as long, and its `digamma` runs one number at a time on a CPU.

    Args:
        r: positive numbers of any shape, in float64 where the device has it.
        x: counts of any shape, of the same type.
    """
    return _LogBinomial.apply(r, x)


class _LogBinomial(torch.autograd.Function):
    """`log_binomial`, with the gradient digamma(r + x) - digamma(r)."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(r, x)
        return _log_rising(r, x) - _log_rising(1.0, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        r, x = ctx.saved_tensors
        return (gradient * (_digamma(r + x) - _digamma(r))).sum_to_size(r.shape), None


def _log_rising(y: Tensor | float, x: Tensor) -> Tensor:
    """log Gamma(y + x) - log Gamma(y): the same at y + 6, less the logarithm of prod_k (y + x + k) / (y + k), k < 6."""
    a, b = y + 6, y + x + 6
    low, high = y * (y + 5), (y + x) * (y + x + 5)
    below = (high / low) * ((high + 4) / (low + 4)) * ((high + 6) / (low + 6))
    return x * b.log() + (a - 0.5) * (x / a).log1p() - x + _stirling(b) - _stirling(a) - below.log()


def _stirling(z: Any) -> Any:
    """log Gamma(z) - (z - 1/2) log z + z - log(2 pi) / 2, for z of at least 6."""
    inverse = 1 / z
    s = inverse * inverse
    return inverse * (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188 - s * (691 / 360360))))))


def _digamma(y: Tensor) -> Tensor:
    """digamma(y) = digamma(y + 6) - sum_k 1 / (y + k), k = 0, ..., 5; the sum is a ratio of polynomials."""
    inverse, outer = 1 / (y + 6), y * (y + 5)
    square = inverse * inverse
    series = inverse / 2 + square * (
        1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square / 132)))
    )
    below = (2 * y + 5) * (outer * (3 * outer + 20) + 24) / (outer * (outer + 4) * (outer + 6))
    return -inverse.log() - series - below
