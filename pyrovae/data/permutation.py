"""A random order of so many rows that a table of their numbers would fill the memory.

`torch.randperm` of 2^31 rows takes 16 GB. A Feistel network is a bijection of the numbers of b bits that computes each
place by itself. A number that it maps beyond the last row is mapped again, until it is a row ("cycle walking"); that
leaves a bijection of the rows, and takes less than two rounds on average, since 2^b is less than twice their number.
"""

from collections.abc import Sequence
from copy import copy
from typing import overload

import torch
from torch import Tensor

__all__ = ["TABLE", "Feistel", "ShuffledRows"]

TABLE = 2**24
"""Up to so many rows their order is that of `torch.randperm`, a table of 128 MiB; above, it is a `Feistel`."""

_ROUNDS = 8

_MULTIPLIERS = (0x2545F4914F6CDD1D, 0x369DEA0F31A53F85)
"""Odd constants of multiplicative generators (L'Ecuyer, 1999; Vigna, 2016) below 2^63."""


class Feistel:
    """A random bijection of 0, 1, ..., size - 1.

    Args:
        size: how many numbers.
        generator: what draws the keys of the rounds.

    References: Black & Rogaway (2002), Ciphers with arbitrary finite domains; Luby & Rackoff (1988), How to construct
    pseudorandom permutations from pseudorandom functions.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        self.size = size
        bits = max(2, (size - 1).bit_length())
        self._low, self._high = bits // 2, bits - bits // 2
        self._keys = torch.randint(2**62, (_ROUNDS,), generator=generator).tolist()

    def __call__(self, places: Tensor) -> Tensor:
        """The rows at some places of the order.

        Args:
            places: int64, from 0 to size - 1.
        """
        rows = self._rounds(places)
        while (outside := rows >= self.size).any():
            rows[outside] = self._rounds(rows[outside])
        return rows

    def _rounds(self, numbers: Tensor) -> Tensor:
        """One pass: the halves take turns, and each is changed by a hash of the other."""
        low, high = self._low, self._high  # the bits of the two halves
        right, left = numbers & ((1 << low) - 1), numbers >> low
        for key in self._keys:
            left, right = right, left ^ (_hashed(right ^ key) & ((1 << high) - 1))
            low, high = high, low
        return (left << low) | right


def _hashed(numbers: Tensor) -> Tensor:
    """Bits that depend on all bits of a number."""
    for multiplier in _MULTIPLIERS:
        numbers = numbers * multiplier
        numbers = numbers ^ ((numbers >> 32) & 0xFFFFFFFF)
    return numbers


class ShuffledRows(Sequence[Tensor]):
    """The rows of each step of an epoch, computed when they are asked for: all rows in a random order.

    Args:
        size: how many rows there are.
        batch_size: the rows of a step; the last step may have fewer.
        generator: what draws the order.
    """

    def __init__(self, size: int, batch_size: int, generator: torch.Generator) -> None:
        self._size, self._batch_size, self._order = size, batch_size, Feistel(size, generator)
        self._steps = range(-(-size // batch_size))

    def __len__(self) -> int:
        return len(self._steps)

    @overload
    def __getitem__(self, step: int) -> Tensor: ...

    @overload
    def __getitem__(self, step: slice) -> "ShuffledRows": ...

    def __getitem__(self, step: int | slice) -> "Tensor | ShuffledRows":
        if isinstance(step, slice):
            part = copy(self)
            part._steps = self._steps[step]
            return part
        return self._order(torch.arange(*self._bounds(self._steps[step])))

    def sizes(self) -> list[int]:
        """The number of rows of each step."""
        return [end - start for start, end in map(self._bounds, self._steps)]

    def _bounds(self, step: int) -> tuple[int, int]:
        start = step * self._batch_size
        return start, min(start + self._batch_size, self._size)
