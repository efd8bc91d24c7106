"""Numerical helpers: bounded scales and their inverse, logarithms without cancellation, double precision."""

import math

import pytest
import torch

from pyrovae.numeric import bounded_scale, log1mexp, raw_scale, wide


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bounded_scale_is_bounded_and_keeps_its_gradient(dtype):
    raw = torch.tensor([-1e9, -1e3, -50.0, -7.0, 0.0, 7.0, 50.0, 1e3, 1e9], dtype=dtype, requires_grad=True)
    scale = bounded_scale(raw)
    assert scale.min() >= math.exp(-7) * (1 - 1e-5)
    assert scale.max() <= math.exp(7) * (1 + 1e-5)
    assert (scale.diff() >= 0).all()
    (gradient,) = torch.autograd.grad(scale.log().sum(), raw)
    assert gradient.isfinite().all()
    assert (gradient[raw.abs() <= 50] > 0).all()


def test_a_bounded_scale_is_the_exponential_near_zero():
    raw = torch.linspace(-0.5, 0.5, 11, dtype=torch.float64)
    torch.testing.assert_close(bounded_scale(raw), raw.exp(), rtol=1e-3, atol=0)
    assert bounded_scale(torch.zeros(())) == 1


@pytest.mark.parametrize("bound", [7.0, 15.0])
def test_a_raw_scale_is_the_inverse_off_the_bounds(bound):
    scale = torch.logspace(-2, 2, 9, dtype=torch.float64)
    torch.testing.assert_close(bounded_scale(raw_scale(scale, bound), bound), scale)
    far = torch.tensor([1e-30, 1e30], dtype=torch.float64)
    clamped = torch.tensor([1 - bound, bound - 1], dtype=torch.float64).exp()
    torch.testing.assert_close(bounded_scale(raw_scale(far, bound), bound), clamped)


def test_log1mexp_does_not_cancel():
    width = torch.tensor([1e-6, 1e-3, 0.1, 1.0, 20.0])
    expected = torch.log(-torch.expm1(-width.double()))
    torch.testing.assert_close(log1mexp(width).double(), expected, rtol=1e-5, atol=1e-8)


def test_wide_is_double():
    assert wide(torch.ones(3)).dtype == torch.float64
    assert wide(torch.ones(3, dtype=torch.float64)).dtype == torch.float64
