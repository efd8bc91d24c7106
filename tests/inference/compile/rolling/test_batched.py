"""Views of the entries of a stack are views of the stack."""

import pytest
import torch

from pyrovae.inference.compile.rolling.batched import BATCHED

aten = torch.ops.aten


@pytest.mark.parametrize(
    ("view", "arguments"),
    [
        (aten.t.default, ()),
        (aten.transpose.int, (0, -1)),
        (aten.permute.default, ((1, 0),)),
        (aten.view.default, ((2, 6),)),
        (aten._unsafe_view.default, ((12,),)),
        (aten.expand.default, ((2, 3, 4),)),
        (aten.unsqueeze.default, (1,)),
        (aten.unsqueeze.default, (-1,)),
        (aten.select.int, (0, 1)),
        (aten.select.int, (-1, 2)),
        (aten.slice.Tensor, (1, 1, 3)),
        (aten.slice.Tensor, (0, 0, 3, 2)),
    ],
)
def test_a_view_of_all_entries(view, arguments):
    stack = torch.randn(5, 3, 4)
    if view is aten.expand.default:
        stack = stack.unsqueeze(1)
        arguments = ((2, 3, 4),)
    wanted = torch.stack([view(entry, *arguments) for entry in stack])
    other, rest = BATCHED[view](stack, *arguments)
    assert torch.equal(other(stack, *rest), wanted)


def test_a_vector_is_its_own_transpose():
    stack = torch.randn(5, 3)
    other, rest = BATCHED[aten.t.default](stack)
    assert torch.equal(other(stack, *rest), stack)


def test_a_squeezed_dimension():
    stack = torch.randn(5, 1, 4)
    for dim in (0, -2):
        other, rest = BATCHED[aten.squeeze.dim](stack, dim)
        assert torch.equal(other(stack, *rest), stack.squeeze(1))
