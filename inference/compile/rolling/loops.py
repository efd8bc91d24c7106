"""Repeated stretches of a graph as loops: what each turn reads, and where from."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import fx

from pyrovae.inference.compile.rolling.dataflow import SELECT, Dataflow, Source, Step, shape_of
from pyrovae.inference.compile.rolling.repeats import Repeat, repeats

__all__ = ["LEAST", "Carried", "Each", "Indexed", "Inside", "Loop", "Read", "Same", "loops"]

LEAST = 8
"""The least number of turns of a loop; fewer stay as they are."""

_MANY = 200
"""So many operations become a loop even if they are pointwise."""

_TRIES = 40
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "_thnn", "scaled_dot_product")


@dataclass(frozen=True)
class Inside:
    """A result of the same turn.

    Args:
        position: that of the operation in the turn.
        chain: the views through which it is read.
    """

    position: int
    chain: tuple[Step, ...]


@dataclass(frozen=True)
class Carried:
    """A result of the turn before.

    Args:
        position: that of the operation in the turn.
        chain: the views through which it is read.
        first: what the first turn reads instead.
    """

    position: int
    chain: tuple[Step, ...]
    first: Source


@dataclass(frozen=True)
class Same:
    """What all turns read, from before the loop.

    Args:
        source: the result and the views.
    """

    source: Source


@dataclass(frozen=True)
class Indexed:
    """A slice of one tensor from before the loop, at an index that moves by the same step from turn to turn.

    Args:
        source: the tensor, and the views up to the selection.
        dim: the dimension of the index.
        first: the index of the first turn.
        step: by how much it moves, not 0.
        chain: the views of the slice.
    """

    source: Source
    dim: int
    first: int
    step: int
    chain: tuple[Step, ...]


@dataclass(frozen=True)
class Each:
    """Results from before the loop, another one for each turn.

    Args:
        bases: their nodes, one per turn.
        chain: the views through which each is read.
    """

    bases: tuple[fx.Node, ...]
    chain: tuple[Step, ...]


Read = Inside | Carried | Same | Indexed | Each


@dataclass(frozen=True)
class Loop:
    """A stretch of operations that is `count` turns of one body.

    Args:
        start: the index of the first operation.
        period: the number of operations of a turn.
        count: the number of turns.
        turns: the operations of each turn.
        reads: for each operation of a turn, where its tensors come from.
    """

    start: int
    period: int
    count: int
    turns: list[list[fx.Node]]
    reads: list[list[Read]]

    @property
    def stop(self) -> int:
        """The index after the last operation."""
        return self.start + self.period * self.count


def loops(flow: Dataflow) -> list[Loop]:
    """The loops of a graph, in their order. They do not overlap.

    Args:
        flow: the operations of the graph, and what each reads.
    """
    numbers = flow.signatures()
    return list(_within(flow, numbers, 0, len(numbers)))


def _within(flow: Dataflow, numbers: list[int], low: int, high: int) -> Iterator[Loop]:
    """The loops between two operations, the longest first, then those before and after it."""
    for repeat in repeats(numbers[low:high], LEAST)[:_TRIES]:
        shifted = Repeat(low + repeat.start, low + repeat.stop, repeat.period)
        loop = _loop(flow, shifted)
        if loop is not None:
            yield from _within(flow, numbers, low, loop.start)
            yield loop
            yield from _within(flow, numbers, loop.stop, high)
            return


def _loop(flow: Dataflow, repeat: Repeat) -> Loop | None:
    """The longest loop in a stretch that repeats itself."""
    if not _pays(flow, repeat):
        return None
    start = repeat.start + _offset(flow, repeat)
    first, last = 0, (repeat.stop - start) // repeat.period
    for _ in range(8):
        if last - first < LEAST:
            return None
        base = start + first * repeat.period
        turns = [flow.nodes[base + k * repeat.period :][: repeat.period] for k in range(last - first)]
        found = [[_Classifier(flow, base, turns, j, s).read() for s in range(len(flow.reads(turns[0][j])))]
                 for j in range(repeat.period)]  # fmt: skip
        spans = [span for row in found for _, span in row]
        low, high = max((s[0] for s in spans), default=0), min((s[1] for s in spans), default=len(turns))
        if (low, high) == (0, len(turns)):
            return Loop(base, repeat.period, len(turns), turns, [[read for read, _ in row] for row in found])  # type: ignore[misc]
        first, last = first + low, first + high
    return None


def _pays(flow: Dataflow, repeat: Repeat) -> bool:
    """Whether a turn has matrix products, or there are many operations; a few pointwise ones are fused as they are."""
    turn = flow.nodes[repeat.start : repeat.start + repeat.period]
    if any(node in flow.fixed for node in turn):
        return False
    names = [str(getattr(node.target, "_opname", "")) for node in turn]
    return repeat.stop - repeat.start >= _MANY or any(name.startswith(_PRODUCTS) for name in names)


def _offset(flow: Dataflow, repeat: Repeat) -> int:
    """Where turns should begin, so that the fewest results pass from one turn to the next."""
    period, middle = repeat.period, repeat.start + repeat.count // 2 * repeat.period
    pairs = {
        (i, flow.index[source.base])
        for i in range(middle, min(middle + period, repeat.stop))
        for source in flow.reads(flow.nodes[i])
        if repeat.start <= flow.index.get(source.base, -1)
    }
    near = np.array([(i, p) for i, p in pairs if i - p < 2 * period], dtype=np.int64).reshape(-1, 2)
    producers = near[:, 1] % period
    best: list[tuple[int, int]] = []
    for offset in range(period):
        turn = (near - repeat.start - offset) // period
        lags = turn[:, 0] - turn[:, 1]
        best.append((1000 * int((lags > 1).sum()) + len(np.unique(producers[lags == 1])), offset))
    return min(best)[1]


class _Classifier:
    """What one argument of one operation is in each turn.

    Args:
        flow: the operations of the graph.
        start: the index of the first operation of the first turn.
        turns: the operations of each turn.
        position: that of the operation in a turn.
        slot: the number of the argument among its tensors.
    """

    def __init__(self, flow: Dataflow, start: int, turns: list[list[fx.Node]], position: int, slot: int) -> None:
        self.flow, self.start, self.turns = flow, start, turns
        self.period = len(turns[0])
        self.sources = [flow.reads(turn[position])[slot] for turn in turns]
        self.places = [flow.index.get(source.base, -1) for source in self.sources]
        self.node = turns[0][position]

    def read(self) -> tuple[Read | None, tuple[int, int]]:
        """What is read, and from which turn to which this holds."""
        middle = len(self.turns) // 2
        source, place = self.sources[middle], self.places[middle]
        turn, position = divmod(place - self.start, self.period)
        if place >= self.start and turn == middle:
            same = [p - self.start - k * self.period == position for k, p in enumerate(self.places)]
            return Inside(position, source.chain), self._span(self._as_here(same, middle), middle)
        if place >= self.start and turn == middle - 1:
            return self._carried(position, middle)
        return self._before(middle)

    def _as_here(self, fits: list[bool], middle: int) -> list[bool]:
        chain = self.sources[middle].chain
        return [fit and source.chain == chain for fit, source in zip(fits, self.sources, strict=True)]

    def _span(self, fits: list[bool], middle: int) -> tuple[int, int]:
        """The stretch of true entries around the middle."""
        low, high = middle, middle
        while low > 0 and fits[low - 1]:
            low -= 1
        while high < len(fits) and fits[high]:
            high += 1
        return low, high

    def _carried(self, position: int, middle: int) -> tuple[Read | None, tuple[int, int]]:
        chain = self.sources[middle].chain
        fits = [p - self.start == (k - 1) * self.period + position for k, p in enumerate(self.places)]
        low, high = self._span(self._as_here(fits, middle), middle)
        if low == 0:  # the turn before the first is one that was left out
            return Carried(position, chain, Source(self.sources[0].base)), (0, high)
        begins = self._begins(self.sources[low - 1], chain, self.turns[0][position])
        if begins is not None and self.places[low - 1] < self.start + (low - 1) * self.period:
            return Carried(position, chain, begins), (low - 1, high)
        return None, (low, high)

    def _begins(self, first: Source, chain: tuple[Step, ...], result: fx.Node) -> Source | None:
        """What stands for the result of the turn before in the first turn, given what that turn reads."""
        if first.chain == chain and shape_of(first.base) == shape_of(result):
            return Source(first.base)
        return first if not chain else None

    def _before(self, middle: int) -> tuple[Read | None, tuple[int, int]]:
        """What comes from before the loop."""
        source, near = self.sources[middle], self.sources[middle + 1]
        outside = [p < self.start for p in self.places]
        if source == near:
            late = max(0, -(-(self.places[middle] + 1 - self.start) // self.period))
            low, high = self._span([s == source for s in self.sources], middle)
            return Same(source), (max(low, late), high)
        if source.base is near.base:
            return self._indexed(middle)
        if isinstance(source.base.meta.get("val"), torch.Tensor) and source.base.op == "call_function":
            span = self._span(self._as_here(outside, middle), middle)
            bases = tuple(s.base for s in self.sources)
            return Each(bases, source.chain), span
        return None, (middle, middle)

    def _indexed(self, middle: int) -> tuple[Read | None, tuple[int, int]]:
        here, near = self.sources[middle].chain, self.sources[middle + 1].chain
        moved = [i for i, (a, b) in enumerate(zip(here, near, strict=False)) if a != b]
        if len(here) != len(near) or len(moved) != 1 or self.places[middle] >= self.start:
            return None, (middle, middle)
        at = moved[0]
        (target, (dim, index)), (other, (other_dim, following)) = here[at], near[at]
        if target is not SELECT or other is not SELECT or dim != other_dim or min(index, following) < 0:
            return None, (middle, middle)
        step = following - index
        fits = [
            s.base is self.sources[middle].base
            and s.chain == (*here[:at], (SELECT, (dim, index + (k - middle) * step)), *here[at + 1 :])
            for k, s in enumerate(self.sources)
        ]
        source = Source(self.sources[middle].base, here[:at])
        return Indexed(source, dim, index - middle * step, step, here[at + 1 :]), self._span(fits, middle)
