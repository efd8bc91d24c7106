"""CUDA graphs: a function's kernels, recorded once and launched together, so that a GPU does not wait for Python."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["CudaGraph"]

Function = Callable[..., Sequence[Tensor]]

WARM_UP = 3
"""Calls that run as they are before one is recorded: libraries set themselves up, and addresses settle."""


class CudaGraph:
    """`fn(*arguments, *state)`, recorded at its fourth call and relaunched from then on.

    A recording reads and writes memory where it lay at that time. Arguments that came from one address at every
    call so far are read there; others are copied into memory of the recording. State is used, and changed, in
    place; where a tensor of it lies elsewhere than before (`parameter.data = ...`) the recording is made anew.

    Args:
        fn: a function of tensors on one GPU, without Python that matters; it may change its state in place, not its
            arguments. Random numbers are fresh at each launch.
        arguments: how many of its tensors are arguments; the rest is state.
    """

    def __init__(self, fn: Function, arguments: int) -> None:
        self._fn = fn
        self._arguments = arguments
        self._moving: set[int] = set()
        self._addresses: list[int] = []
        self._calls = 0

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        self._look(tensors)
        if self._calls <= WARM_UP:
            return self._fn(*tensors)
        if self._calls == WARM_UP + 1:
            self._copies = {i: tensors[i].clone() for i in self._moving}
            self._launch, self._results = record(self._fn, [self._copies.get(i, x) for i, x in enumerate(tensors)])
        for i, copy in self._copies.items():
            copy.copy_(tensors[i])
        self._launch()
        return [result.clone() for result in self._results]

    def _look(self, tensors: Sequence[Tensor]) -> None:
        """Count the call; begin again where a tensor thought fixed has moved."""
        addresses = [tensor.data_ptr() for tensor in tensors]
        if addresses != self._addresses:
            changes = zip(addresses, self._addresses or addresses, strict=True)
            moved = {i for i, (new, old) in enumerate(changes) if new != old} - self._moving
            self._moving |= {i for i in moved if i < self._arguments}
            self._addresses = addresses
            self._calls = 0 if moved else self._calls
        self._calls += 1


def record(fn: Function, tensors: Sequence[Tensor]) -> tuple[Callable[[], None], Sequence[Tensor]]:
    """A launch of the kernels of `fn(*tensors)`, and the tensors that it writes its results to; nothing runs yet."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = fn(*tensors)
    return graph.replay, results
