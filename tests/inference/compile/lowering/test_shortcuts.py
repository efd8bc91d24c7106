"""Shortcuts through inductor: the numbers are those of torch's own functions, and the kernels are the same text."""

import sys
from contextlib import nullcontext

import pytest
import sympy
import torch
from torch._inductor import dtype_propagation
from torch._inductor.codegen import cpp as torch_cpp
from torch._inductor.fx_passes import joint_graph
from torch.utils._sympy.functions import FloorDiv, ModularIndexing
from torch.utils._sympy.value_ranges import ValueRanges

from pyrovae.inference.compile.capture import capture
from pyrovae.inference.compile.lowering import cpp, lower, shortcuts
from pyrovae.inference.compile.state.watch import Watch

x, y = sympy.symbols("x y", integer=True, nonnegative=True)
AFFINE = {"zero": sympy.S.Zero, "x": x, "rows": 784 * y + x, "columns": 784 * x + y + 3, "other": 5 * y, "minus": 7 - x}
GENERAL = {"floor": FloorDiv(x, 4), "modular": 16 * y + ModularIndexing(x, 1, 16), "product": x * y, "square": x**2}


@pytest.mark.parametrize("name", AFFINE)
@pytest.mark.parametrize("length", [None, 16])
def test_the_stride_of_a_sum_of_multiples_is_that_of_torch(name, length):
    index = AFFINE[name]
    assert shortcuts.affine_stride(index, x) == index.subs(x, x + 1) - index
    assert shortcuts.affine_stride(index, x) == torch_cpp.stride_at_vec_range(index, x, length)


@pytest.mark.parametrize("name", GENERAL)
def test_other_strides_are_left_to_torch(name):
    assert shortcuts.affine_stride(GENERAL[name], x) is None


@pytest.mark.parametrize("other", [ValueRanges(0, 5), ValueRanges(3, 9), ValueRanges.unknown()])
def test_intersections_are_those_of_torch(other):
    ranges = ValueRanges(0, 5)
    assert shortcuts._tighten(ValueRanges.tighten)(ranges, other) == ranges.tighten(other)


def several_kernels(x, y):
    """Sums over rows and columns, a transposed reader, numbers of the source, and lgamma in float64."""
    z = (x.double() + 1.5).lgamma().float()
    return (z - z.sum(0)).t() * 2.0 + y, torch.where(x > 0.5, x.exp(), y.t()).sum(1), (x @ y).clamp(0.0, 3.0)


def kernels_of(monkeypatch, folder):
    """The C++ of each kernel, from an empty cache."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
    sources, collect = [], cpp._Together.cpp_pybinding
    monkeypatch.setattr(
        cpp._Together, "cpp_pybinding", lambda self, kinds, code: sources.append(code) or collect(self, kinds, code)
    )
    inputs = [torch.rand(40, 37), torch.rand(37, 40)]
    captured = capture(several_kernels, inputs, Watch([]))
    results = lower.lower(captured, inputs, {})(*inputs)
    torch.testing.assert_close(list(results), list(several_kernels(*inputs)))
    return sources


def test_the_kernels_are_the_text_that_inductor_writes(monkeypatch, tmp_path):
    torch._dynamo.reset()
    with monkeypatch.context() as patch:
        short = kernels_of(patch, tmp_path / "short")
    with monkeypatch.context() as patch:
        patch.setattr(shortcuts, "shortcuts", lambda module: nullcontext())
        assert kernels_of(patch, tmp_path / "whole") == short
    assert len(short) > 1


def test_the_patterns_of_attention_are_made_where_they_may_be_needed():
    batched, inputs = torch.rand(2, 3, 3), [torch.rand(3, 3)]
    plain = capture(lambda a: a @ a, inputs, Watch([])).module
    attending = capture(lambda a: batched @ a.expand(2, 3, 3), inputs, Watch([])).module
    whole = joint_graph.lazy_init
    for module, made in ((plain, torch.cuda.is_available()), (attending, True)):
        with shortcuts.shortcuts(module):
            assert (joint_graph.lazy_init is whole) == made
    assert joint_graph.lazy_init is whole


def test_a_name_that_this_torch_lacks_is_left_out(monkeypatch):
    monkeypatch.delattr(dtype_propagation, "DtypePropagationOpsHandler")
    inputs = [torch.rand(3)]
    with shortcuts.shortcuts(capture(lambda a: a + 1, inputs, Watch([])).module):
        assert not hasattr(dtype_propagation, "DtypePropagationOpsHandler")


def test_a_module_that_this_torch_lacks_is_left_out(monkeypatch):
    whole = ValueRanges.tighten
    monkeypatch.setitem(sys.modules, "torch._inductor.dtype_propagation", None)  # its import fails
    with shortcuts.shortcuts(capture(lambda a: a + 1, [torch.rand(3)], Watch([])).module):
        assert ValueRanges.tighten is not whole
    assert ValueRanges.tighten is whole
