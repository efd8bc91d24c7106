"""A captured function, compiled."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyrovae.imports import private
from pyrovae.inference.compile.capture import Captured

__all__ = ["Graph"]

pytree = private("torch.utils._pytree")


class Graph:
    """A captured function, compiled: call it with the tensors of its arguments.

    Args:
        captured: what was captured.
        replay: a function of the arguments and the state.

    Attributes:
        state: the tensors that the graph reads and changes besides its arguments.
        calls: how often it was replayed.
        used: the number of the call of the whole function that used it last.
    """

    def __init__(self, captured: Captured, replay: Callable[..., Any]) -> None:
        self.state = captured.state  # alive, so that the identities in the key stay unique
        self.calls = self.used = 0
        self._spec, self._constants, self._written = captured.spec, captured.constants, captured.written
        self._replay = replay
        self._addresses: list[int] = []
        self._state: list[Tensor] = []
        self.find_state()

    def find_state(self) -> None:
        """Find the present memory of the state: `parameter.data = ...` moves it."""
        addresses = [tensor.data_ptr() for tensor in self.state]
        if addresses != self._addresses:
            self._addresses, self._state = addresses, [tensor.detach() for tensor in self.state]

    def __call__(self, tensors: list[Tensor]) -> Any:
        with torch.no_grad():
            results = iter(self._replay(*tensors, *self._state))
        leaves = [next(results) if constant is None else constant[0] for constant in self._constants]
        result, written = pytree.tree_unflatten(leaves, self._spec)
        for (group, name), value in zip(self._written, written, strict=True):
            group[name] = value
        return result
