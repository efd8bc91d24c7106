"""Sums over the turns of a loop, as the gradients of shared weights are, taken out of the loop.

sum_t a_t b_t of matrices is one product of longer matrices after the loop, and sum_t sum_i g_ti one sum.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyrovae.inference.compile.rolling.batched import BATCHED
from pyrovae.inference.compile.rolling.dataflow import Source, Step, aten
from pyrovae.inference.compile.rolling.loops import Carried, Each, Indexed, Inside, Loop, Read

__all__ = ["TRANSPOSED", "Sum", "Term", "sums"]

TRANSPOSED: tuple[Step, ...] = ((aten.t.default, ()),)


@dataclass(frozen=True)
class Term:
    """What each turn adds to a sum: a product or a sum over dimensions of the same turn, or a result from before.

    Args:
        read: what is added.
        sign: aten.add.Tensor, or aten.sub.Tensor where it is subtracted.
    """

    read: Inside | Indexed | Each
    sign: Any


@dataclass(frozen=True)
class Sum:
    """A sum over all turns, of which nothing in the loop reads the partial sums.

    Args:
        position: that of the last addition in a turn.
        first: what the first turn adds to.
        terms: what each turn adds.
    """

    position: int
    first: Source
    terms: tuple[Term, ...]


def sums(loop: Loop, last: set[int], stacked: set[int]) -> list[Sum]:
    """The sums of a loop that can be taken after it.

    Args:
        loop: the loop.
        last: the positions whose results only the last turn gives away.
        stacked: the positions whose results other turns give away.
    """
    readers: dict[int, list[tuple[int, int]]] = {}
    for j, reads in enumerate(loop.reads):
        for s, read in enumerate(reads):
            if isinstance(read, Inside | Carried):
                readers.setdefault(read.position, []).append((j, s))
    inner = {q for q, found in readers.items() if len(found) == 1 and q not in stacked}
    return [s for q in sorted(last & inner) for s in _sum(loop, q, readers, inner - last)]


def _sum(loop: Loop, q: int, readers: dict[int, list[tuple[int, int]]], inner: set[int]) -> Iterator[Sum]:
    """The sum whose last addition is at position q."""
    at, slot = readers[q][0]
    carried, terms = loop.reads[at][slot], []
    if not isinstance(carried, Carried) or carried.chain:
        return
    while True:
        node, reads = loop.turns[0][at], loop.reads[at]
        if node.target not in (aten.add.Tensor, aten.sub.Tensor)[: 2 - slot] or len(reads) != 2 or node.kwargs:
            return
        term = reads[1 - slot]
        if isinstance(term, Inside) and (term.position not in inner or not _is_sum(loop, term.position)):
            return
        if not _stacks(term) or not _batches(term):
            return
        terms.append(Term(term, node.target))  # type: ignore[arg-type]
        if at == q:
            yield Sum(q, carried.first, tuple(terms))
            return
        if at not in inner or loop.reads[readers[at][0][0]][readers[at][0][1]] != Inside(at, ()):
            return
        at, slot = readers[at][0]


def _is_sum(loop: Loop, position: int) -> bool:
    """Whether the sum over the turns of this operation's result is one operation on what it reads."""
    target, reads = loop.turns[0][position].target, loop.reads[position]
    if target is aten.mm.default:
        return all(_stacks(read) and read.chain in ((), TRANSPOSED) for read in reads)  # type: ignore[union-attr]
    return target is aten.sum.dim_IntList and all(_stacks(read) and not read.chain for read in reads)  # type: ignore[union-attr]


def _batches(read: Read) -> bool:
    """Whether the views of a read may be taken of a stack or of a sum."""
    return isinstance(read, Inside) or all(target in BATCHED for target, _ in read.chain)  # type: ignore[union-attr]


def _stacks(read: Read) -> bool:
    return isinstance(read, Inside | Indexed | Each)
