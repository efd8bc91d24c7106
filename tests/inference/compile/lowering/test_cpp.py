"""The kernels of a graph in one file: what each computes, and what happens when they do not compile together."""

import pytest
import torch
from torch._inductor import cpu_vec_isa
from torch._inductor.cpp_builder import CppBuilder, get_cpp_compiler

from pyrovae.inference.compile.capture import capture
from pyrovae.inference.compile.lowering import cpp
from pyrovae.inference.compile.lowering.lower import lower
from pyrovae.inference.compile.state.watch import Watch


@pytest.fixture
def files(monkeypatch, tmp_path):
    """The C++ files that are compiled, from an empty cache."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    built, build = [], CppBuilder.build
    monkeypatch.setattr(CppBuilder, "build", lambda self, *args: built.append(self) or build(self, *args))
    return built


def three_kernels(x, y):
    """Sums that cannot be fused: a kernel for each, and one more for what follows."""
    return (x - x.sum(0)).exp().sum(1), (y.cumsum(0) + 1).log().mean(), x.sum() * y.sum()


def check(files, salt):
    inputs = [torch.rand(40, 30 + salt), torch.rand(50, 20)]
    captured = capture(three_kernels, inputs, Watch([]))
    results = lower(captured, inputs, {})(*inputs)
    torch.testing.assert_close(list(results), list(three_kernels(*inputs)))


def test_kernels_are_compiled_in_one_file(files):
    check(files, 0)
    assert len(files) == 1


def test_kernels_that_do_not_compile_together_are_compiled_alone(files, monkeypatch):
    monkeypatch.setattr(cpp, "_EMPTY_MODULE", "this is not C++")
    check(files, 1)
    assert len(files) >= 2  # the one that fails, and one for each kernel


def kernel(number, length):
    return cpp._Kernel(number, ["float*"], f'extern "C"  void  kernel(float* out_ptr0)\n{{{" " * length}}}')


def test_a_kernel_gets_a_name_of_its_own():
    assert kernel(3, 0).renamed.startswith('extern "C"  void  kernel_3(float*')
    assert "PyInit_kernel_3" in kernel(3, 0).code()
    two = kernel(0, 0).source + kernel(0, 0).source
    assert cpp._Kernel(0, [], two).renamed is None


def test_files_are_equally_long(monkeypatch):
    monkeypatch.setattr(cpp, "_LARGE", 500)
    kernels = [kernel(n, 100 * (n + 1)) for n in range(6)]
    parts = cpp._parts(kernels, 2)
    assert sorted(k.name for part in parts for k in part) == sorted(k.name for k in kernels)
    lengths = [sum(len(k.source) for k in part) for part in parts]
    assert len(parts) == 2
    assert max(lengths) - min(lengths) < 600
    assert len(cpp._parts(kernels[:1], 2)) == 1


def test_the_compiler_is_asked_for_its_flags():
    assert cpp._knows(get_cpp_compiler(), "")
    assert not cpp._knows(get_cpp_compiler(), "-mno-such-vectors")


def test_vector_instructions_are_those_that_inductor_finds():
    for isa in cpu_vec_isa.valid_vec_isa_list():
        assert cpp._check_build(isa, cpu_vec_isa.VecISA._avx_code)
        assert cpp._compile_a_probe(isa, cpu_vec_isa.VecISA._avx_code)


def test_torch_is_as_it_was_afterwards():
    from torch._inductor import async_compile

    before = async_compile.AsyncCompile, cpu_vec_isa.VecISA.check_build
    with cpp.together():
        assert async_compile.AsyncCompile is not before[0]
    assert before == (async_compile.AsyncCompile, cpu_vec_isa.VecISA.check_build)
