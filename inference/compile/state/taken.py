"""How many calls of each combination of sizes were taken, so that a resumed training goes on counting."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

__all__ = ["Taken"]


class _Counted(Protocol):
    equal: int
    handed_over: bool


class Taken:
    """The equal calls of each combination of sizes that ran without a graph.

    Args:
        after: so many of them run before the graph takes over.
    """

    def __init__(self, after: int) -> None:
        self._after = after
        self._before: dict[str, int] = {}
        self._met: dict[str, _Counted] = {}

    def meet(self, tensors: Sequence[Tensor], known: _Counted) -> int:
        """Remember a new signature, and give the number of equal calls before this one in an earlier training.

        Args:
            tensors: the arguments.
            known: what is known of the signature; it counts from now on.
        """
        sizes = str([(tuple(tensor.shape), str(tensor.dtype)) for tensor in tensors])
        self._met[sizes] = known
        return self._before.pop(sizes, -1) + 1

    def counts(self) -> dict[str, int]:
        """The number of calls by sizes."""
        met = {sizes: self._after if k.handed_over else min(k.equal, self._after) for sizes, k in self._met.items()}
        return self._before | met

    def resume(self, counts: Mapping[str, int]) -> None:
        """Go on counting where an earlier training stopped.

        Args:
            counts: its `counts()`.
        """
        self._before = dict(counts)
