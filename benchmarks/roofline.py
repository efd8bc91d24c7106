"""The roofline of a step or a tool: its arithmetic and traffic, and what this machine reaches at those shapes."""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from pairs import pair_of, to_floats
from plain import Plain
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from workloads import Workload

from pyrovae.inference.compile.lowering import products  # noqa: F401 registers oneDNN's product

# Adam reads the parameter, its gradient and two moments, and writes the parameter and the moments.
_ADAM_PASSES = 7

_aten = torch.ops.aten
_MATRIX_CALLS = (_aten.mm, _aten.addmm, _aten.bmm, _aten.convolution, _aten.convolution_backward)


class _Recorder(TorchDispatchMode):
    """Counts the calls that multiply matrices by their shapes, keeps one of each, and counts the bytes they move."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, tuple[Any, tuple, dict]] = {}
        self.counts: Counter[str] = Counter()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in _MATRIX_CALLS:
            shapes = [(a.shape, a.stride()) if isinstance(a, Tensor) else a for a in args]
            key = f"{func} {shapes}"
            self.calls.setdefault(key, (func, args, kwargs or {}))
            self.counts[key] += 1
            results = result if isinstance(result, tuple) else (result,)
            self.bytes += sum(t.nbytes for t in (*args, *results) if isinstance(t, Tensor))
        return result

    def seconds(self, dtype: torch.dtype) -> float:
        """What the recorded calls take in `dtype`, each timed alone at its shape."""
        return sum(count * _replay(*self.calls[key], dtype) for key, count in self.counts.items())


def of_tool(tool: Callable[[], Any]) -> dict[str, float]:
    """FLOPs of a call without graphs, and the seconds of its products, each timed alone at its shape.

    Args:
        tool: what to call.
    """
    with FlopCounterMode(display=False) as counter, _Recorder() as recorder:
        tool()
    return {"flops": counter.get_total_flops(), "matrix_seconds": recorder.seconds(torch.float32)}


def measure(work: Workload, rows: Tensor) -> dict[str, float]:
    """FLOPs and bytes of one step, and the seconds that the machine needs for each.

    The matrix seconds are those of the step's own products and convolutions, each timed alone at its shape, in
    float32 and in bfloat16. The memory seconds are the bytes over the rate of a copy as large as the parameters,
    gradients and moments, which may be in the cache or in main memory.
    """
    net = Plain(work, *pair_of(work)).to(rows.device)
    batch = to_floats(rows[: work.batch_size])
    with FlopCounterMode(display=False) as counter, _Recorder() as recorder:
        net(batch).backward()
    num_bytes = sum(p.nbytes for p in net.parameters())
    traffic = recorder.bytes + _ADAM_PASSES * num_bytes
    rate = _copy_rate(4 * num_bytes, rows.device)
    return {
        "flops": counter.get_total_flops(),
        "bytes": traffic,
        "matrix_seconds": recorder.seconds(torch.float32),
        "matrix_seconds_bf16": recorder.seconds(torch.bfloat16),
        "bytes_per_second": rate,
        "memory_seconds": traffic / rate,
    }


def _replay(func: Any, args: tuple, kwargs: dict, dtype: torch.dtype) -> float:
    """Seconds of one recorded call in `dtype`; of a product in float32, by the faster of MKL and oneDNN."""
    cast = [a.detach().to(dtype) if isinstance(a, Tensor) else a for a in args]
    device = next(a.device for a in args if isinstance(a, Tensor))
    with torch.no_grad():
        seconds = _seconds(lambda: func(*cast, **kwargs), device)
        if func.overloadpacket in (_aten.mm, _aten.addmm) and dtype == torch.float32 and device.type == "cpu":
            factors = cast[-2:]
            seconds = min(seconds, _seconds(lambda: torch.ops.pyrovae.onednn_mm.default(*factors), device))
        return seconds


def _copy_rate(num_bytes: int, device: torch.device) -> float:
    """Bytes read and written per second by a copy between two halves of `num_bytes`."""
    source = torch.zeros(max(num_bytes // 8, 1), device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _seconds(lambda: target.copy_(source), device)


def _seconds(call: Callable[[], Any], device: torch.device, repeats: int = 20) -> float:
    """Median seconds of a call, from groups long enough for the clock."""
    call()
    single = max(_timed(call, 1, device), 1e-7)
    group = max(1, int(2e-3 / single))
    return statistics.median(_timed(call, group, device) for _ in range(repeats))


def _timed(call: Callable[[], Any], times: int, device: torch.device) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / times
