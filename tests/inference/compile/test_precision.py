"""Precision: operands of products are rounded to bfloat16, and nothing else is."""

import pytest
import torch

from pyrovae.inference.compile.precision import PRECISIONS, precise


def test_the_names():
    assert PRECISIONS == ("fp32", "bf16")


def test_fp32_changes_nothing():
    a, b = torch.randn(4, 5), torch.randn(5, 3)
    with precise("fp32"):
        assert torch.equal(a @ b, a.mm(b))


def test_a_product_is_that_of_rounded_operands():
    a, b = torch.randn(4, 5), torch.randn(5, 3)
    with precise("bf16"):
        product = a @ b
    assert product.dtype == torch.float32
    assert torch.equal(product, (a.bfloat16() @ b.bfloat16()).float())
    assert not torch.equal(product, a @ b)


def test_sums_and_double_precision_stay_as_they_are():
    x = torch.randn(50)
    a = torch.randn(4, 4, dtype=torch.float64)
    with precise("bf16"):
        total, product = x.sum(), a @ a
    assert torch.equal(total, x.sum())
    assert torch.equal(product, a @ a)


def test_gradients_are_float32_and_of_rounded_products():
    a, b = torch.randn(4, 5, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    weights = torch.randn(4, 3)
    with precise("bf16"):
        gradients = torch.autograd.grad(((a @ b) * weights).sum(), [a, b])
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    rounded = [x.detach().bfloat16() for x in (a, b, weights)]
    torch.testing.assert_close(gradients[0], (rounded[2] @ rounded[1].T).float(), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(gradients[1], (rounded[0].T @ rounded[2]).float(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["bmm", "conv"])
def test_batches_of_products_and_convolutions_are_rounded(name):
    x, weight = torch.randn(2, 3, 8), torch.randn(4, 3, 3)
    run = {"bmm": lambda: torch.bmm(x, x.mT), "conv": lambda: torch.nn.functional.conv1d(x, weight)}[name]
    with precise("bf16"):
        rounded = run()
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, run())
    torch.testing.assert_close(rounded, run(), rtol=5e-2, atol=5e-2)
