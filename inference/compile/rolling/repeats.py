"""Where a sequence repeats itself: stretches that consist of the same period several times."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Repeat", "repeats"]

_LONGEST = 4096
"""The longest period that is looked for."""


@dataclass(frozen=True)
class Repeat:
    """A stretch `[start, stop)` of a sequence in which each entry equals the one a period before it.

    Args:
        start: where the stretch begins.
        stop: where it ends.
        period: the length of the period.
    """

    start: int
    stop: int
    period: int

    @property
    def count(self) -> int:
        """How many whole periods there are."""
        return (self.stop - self.start) // self.period


def repeats(sequence: list[int], least: int) -> list[Repeat]:
    """The stretches of at least so many periods, the longest stretches first, of these the shortest period first.

    Args:
        sequence: any numbers.
        least: the least number of periods.
    """
    numbers, found = np.asarray(sequence), []
    for period in range(1, min(_LONGEST, len(numbers) // least) + 1):
        differs = np.flatnonzero(numbers[period:] != numbers[:-period])
        bounds = np.concatenate([[-1], differs, [len(numbers) - period]])
        for i in np.flatnonzero(np.diff(bounds) > (least - 1) * period):
            found.append(Repeat(int(bounds[i]) + 1, int(bounds[i + 1]) + period, period))
    return sorted(found, key=lambda r: (r.start - r.stop, r.period))
