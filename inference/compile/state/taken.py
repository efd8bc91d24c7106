"""How many calls of each combination of sizes were taken, so that a resumed training goes on counting."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from pyrovae.inference.compile.state.known import Known

__all__ = ["Taken"]

_SHARE = 4
"""Sizes that make up a smaller part of the calls than one in so many, such as the last batch of an epoch, are rare."""


class Taken:
    """The equal calls of each combination of sizes that ran without a graph.

    Args:
        after: so many of them run before the graph takes over.
    """

    def __init__(self, after: int) -> None:
        self._after = after
        self._before: dict[str, int] = {}
        self._met: dict[str, Known] = {}

    def meet(self, tensors: Sequence[Tensor], known: Known) -> int:
        """Remember a new signature, and give the number of equal calls before this one in an earlier training.

        Args:
            tensors: the arguments.
            known: what is known of the signature; it counts from now on.
        """
        sizes = str([(tuple(tensor.shape), str(tensor.dtype)) for tensor in tensors])
        self._met[sizes] = known
        return self._before.pop(sizes, -1) + 1

    @property
    def met(self) -> Iterable[Known]:
        """What is known of each combination of sizes."""
        return self._met.values()

    def leads(self, known: Known) -> bool:
        """Whether its graph is the first, and not of rare sizes: beside a graph, another process would only disturb.

        Args:
            known: of which less than `after` equal calls were taken.
        """
        counts = self.counts().values()
        return max(counts) < self._after and _SHARE * known.equal >= sum(counts)

    def counts(self) -> dict[str, int]:
        """The number of calls by sizes."""
        met = {sizes: self._after if _decided(k) else min(k.equal, self._after) for sizes, k in self._met.items()}
        return self._before | met

    def resume(self, counts: Mapping[str, int]) -> None:
        """Go on counting where an earlier training stopped.

        Args:
            counts: its `counts()`.
        """
        self._before = dict(counts)


def _decided(known: Known) -> bool:
    """Whether it is known that there is a graph, or that there is none."""
    return known.handed_over or known.refused
