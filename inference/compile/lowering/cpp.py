"""The C++ kernels of a graph, compiled together: a compiler reads torch's headers far longer than it compiles a kernel.

Inductor writes one file per kernel, and compiles files of its own first to find out which vector instructions the
compiler knows. On two cores that took 11 s of the 16 s of a first step.
"""

import functools
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch._inductor import async_compile, cpu_vec_isa
from torch._inductor.async_compile import AsyncCompile, get_compile_threads
from torch._inductor.codecache import CppPythonBindingsCodeCache
from torch._inductor.cpp_builder import get_cpp_compiler

__all__ = ["SETTINGS", "together"]

SETTINGS = {"cpp_cache_precompile_headers": False}
"""Settings of inductor: one file reads the headers once, and precompiling them takes longer than that."""

_LARGE = 150_000
"""Characters of kernels from which a file of their own is worth reading the headers once more, on another core."""

_WIDTHS = {"AVX512": 512, "AVX2": 256}
"""Widths of the vectors that torch itself was built for, by the name of its capability."""


@contextmanager
def together() -> Iterator[None]:
    """A context in which inductor compiles the kernels of a graph together, and asks the compiler for flags alone."""
    with (
        mock.patch.object(async_compile, "AsyncCompile", _Together),
        mock.patch.object(cpu_vec_isa.VecISA, "check_build", _check_build),
    ):
        yield


# Vector instructions ----------------------------------------------------------------------------------------------

_compile_a_probe: Callable[..., bool] = cpu_vec_isa.VecISA.check_build


def _check_build(isa: Any, code: str) -> bool:
    """Whether kernels can use vector instructions that the processor has; inductor compiles and loads `code`.

    Torch, which runs here, was built for them, so only the compiler has to know their flags.
    """
    width = _WIDTHS.get(torch.backends.cpu.get_cpu_capability(), 0)
    if sys.platform == "linux" and isa.bit_width() <= width:
        return _knows(get_cpp_compiler(), isa.build_arch_flags())
    return _compile_a_probe(isa, code)


@functools.cache
def _knows(compiler: str, flags: str) -> bool:
    """Whether a compiler accepts flags."""
    command = [*shlex.split(compiler), *shlex.split(flags), "-fsyntax-only", "-x", "c++", "-"]
    return subprocess.run(command, input=b"", capture_output=True, check=False).returncode == 0


# Kernels ----------------------------------------------------------------------------------------------------------


class _Together(AsyncCompile):
    """Collects the kernels that a graph asks for, and compiles them when it waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self._kernels: list[_Kernel] = []

    def cpp_pybinding(self, argtypes: list[str], source_code: str) -> Any:
        kernel = _Kernel(len(self._kernels), argtypes, source_code)
        if kernel.renamed is None:
            return super().cpp_pybinding(argtypes, source_code)
        self._kernels.append(kernel)
        return kernel

    def wait(self, scope: dict[str, Any]) -> None:
        try:
            loaded = _load(self._kernels)
        except Exception:  # a kernel that compiles in a file of its own alone: inductor knows what it does
            loaded = {k: super(_Together, self).cpp_pybinding(k.argtypes, k.source) for k in self._kernels}
        for name, value in list(scope.items()):
            if isinstance(value, _Kernel):
                scope[name] = loaded[value]
        super().wait(scope)


_DEFINITION = re.compile(r'(extern\s+"C"[^({;]*?\b)kernel(?=\s*\()')
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include\b.*$", re.MULTILINE)


class _Kernel:
    """One kernel: a function of a name of its own, in a namespace of its own."""

    def __init__(self, number: int, argtypes: list[str], source: str) -> None:
        self.name = f"kernel_{number}"
        self.argtypes, self.source = argtypes, source
        renamed, count = _DEFINITION.subn(rf"\g<1>{self.name}", source)
        self.renamed = renamed if count == 1 and len(re.findall(r"\bkernel\s*\(", source)) == 1 else None

    def code(self) -> str:
        """The kernel with its Python binding."""
        cache = CppPythonBindingsCodeCache
        arguments = ", ".join(
            f"parse_arg<{kind.replace('const ', '')}>(args, {n})" for n, kind in enumerate(self.argtypes)
        )
        call = cache.call_entry_function.format(arguments).replace("kernel(", f"{self.name}(")
        binding = cache.suffix_template.format(
            arg_len=len(self.argtypes), call_entry_func=call, entry_func=self.name, extra_parse_arg=""
        )
        return f"{self.renamed}\n{binding}"


def _load(kernels: list[_Kernel]) -> dict[_Kernel, Callable[..., None]]:
    """Compile kernels in a few files, at the same time, and load them."""
    threads = get_compile_threads()
    submit = AsyncCompile.submit if threads > 1 else None
    parts = _parts(kernels, threads)
    loads = [CppPythonBindingsCodeCache.load_async(_file(part), "cpu", submit_fn=submit) for part in parts]
    loaded = {}
    for part, load in zip(parts, loads, strict=True):
        module = load()
        for kernel in part:
            loaded[kernel] = getattr(_function_of(module, kernel.name), kernel.name)
    return loaded


def _parts(kernels: list[_Kernel], most: int) -> list[list[_Kernel]]:
    """The kernels of each file, so that all files are about equally long."""
    count = max(1, min(most, sum(len(kernel.source) for kernel in kernels) // _LARGE))
    parts: list[list[_Kernel]] = [[] for _ in range(count)]
    lengths = [0] * count
    for kernel in sorted(kernels, key=lambda kernel: -len(kernel.source)):
        shortest = lengths.index(min(lengths))
        parts[shortest].append(kernel)
        lengths[shortest] += len(kernel.source)
    return [part for part in parts if part]


def _file(kernels: list[_Kernel]) -> str:
    """One file of kernels: the headers of all, then each kernel in its namespace.

    Inductor imports what it compiled as the module `kernel`, so the file defines one, which is empty.
    """
    bodies = {kernel: kernel.code() for kernel in kernels}
    headers = dict.fromkeys(line for body in bodies.values() for line in _INCLUDE.findall(body))
    spaces = [f"namespace {k.name}_space {{\n{_INCLUDE.sub('', body)}\n}}" for k, body in bodies.items()]
    return "\n".join(["#define PY_SSIZE_T_CLEAN", *(line.strip() for line in headers), *spaces, _EMPTY_MODULE])


_EMPTY_MODULE = """
static struct PyModuleDef empty_module = {PyModuleDef_HEAD_INIT, "kernel", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_kernel(void) { return PyModule_Create(&empty_module); }
"""


def _function_of(module: Any, name: str) -> ModuleType:
    """The module of one kernel, from the library that the module of the file came from."""
    spec = importlib.util.spec_from_file_location(name, module.__file__)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module {name} in {module.__file__}")
    kernel = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kernel)
    return kernel
