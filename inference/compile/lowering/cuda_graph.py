"""CUDA graphs: the kernels of a function, recorded once and launched together, so a GPU does not wait for Python."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["WARM_UP", "CudaGraph", "record"]

Function = Callable[..., Sequence[Tensor]]

WARM_UP = 3
"""Calls that run unrecorded before the recording: libraries initialise themselves, and addresses settle."""


class CudaGraph:
    """`fn(*arguments, *state)`, recorded at its fourth call and relaunched at every later one.

    A recording reads and writes memory at fixed addresses. An argument that has had the same address at every call is
    read there; any other is first copied into memory of the recording. State is read and changed in place. When a
    tensor of the state moves (`parameter.data = ...`), the function is recorded again.

    Args:
        fn: a function of tensors on one GPU without Python side effects; it may change its state in place, but not
            its arguments. Random numbers are fresh at each launch.
        arguments: how many of its tensors are arguments; the rest are state.
    """

    def __init__(self, fn: Function, arguments: int) -> None:
        self._fn = fn
        self._arguments = arguments
        self._moving: set[int] = set()
        self._addresses: list[int] = []
        self._calls = 0
        self._recording: _Recording | None = None

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        self._look(tensors)
        if self._calls <= WARM_UP:
            return self._fn(*tensors)
        if self._recording is None:
            self._recording = _Recording(self._fn, tensors, self._moving)
        return self._recording(tensors)

    def _look(self, tensors: Sequence[Tensor]) -> None:
        """Count the call; discard the recording when a tensor that it reads in place has moved."""
        addresses = [tensor.data_ptr() for tensor in tensors]
        if addresses != self._addresses:
            changes = zip(addresses, self._addresses or addresses, strict=True)
            moved = {i for i, (new, old) in enumerate(changes) if new != old} - self._moving
            self._moving |= {i for i in moved if i < self._arguments}
            self._addresses = addresses
            if moved:
                self._calls, self._recording = 0, None
        self._calls += 1


class _Recording:
    """A recorded function; the arguments that move are copied into its own memory before each launch."""

    def __init__(self, fn: Function, tensors: Sequence[Tensor], moving: set[int]) -> None:
        self._copies = {i: tensors[i].clone() for i in moving}
        self._launch, self._results = record(fn, [self._copies.get(i, x) for i, x in enumerate(tensors)])

    def __call__(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        for i, copy in self._copies.items():
            copy.copy_(tensors[i])
        self._launch()
        return [result.clone() for result in self._results]


def record(fn: Function, tensors: Sequence[Tensor]) -> tuple[Callable[[], None], Sequence[Tensor]]:
    """Record the kernels of `fn(*tensors)`; nothing runs yet.

    Args:
        fn: a function of tensors on one GPU.
        tensors: what it reads and writes at each launch, at these addresses.

    Returns:
        A function that launches the kernels, and the tensors that each launch writes the results to.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = fn(*tensors)
    return graph.replay, results
