"""Schedules: numbers that change from step to step, as functions of the objective's counter of steps."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pyrovae.errors import PairError

__all__ = ["Cyclical", "Linear", "Schedule", "at"]

Schedule = Callable[[Tensor], Tensor]
"""From the steps taken so far, a 0-dim tensor, to the number: in tensor code, so that a compiled step follows it."""


@dataclass(frozen=True)
class Linear:
    """From `start` to `end` in `steps` steps, and `end` ever after.

    Raises:
        PairError: steps < 1.

    References: Bowman et al. (2016), arXiv:1511.06349.
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise PairError(f"Linear wants steps >= 1, got {self.steps}. A constant is a plain number: kl_weight=1.0.")

    def __call__(self, step: Tensor) -> Tensor:
        return self.start + (self.end - self.start) * (step / self.steps).clamp(max=1.0)


@dataclass(frozen=True)
class Cyclical:
    """From `start` to `end` in the first part `rise` of each period, and `end` for the rest of it.

    Args:
        start, end: the numbers at both ends.
        period: steps of one cycle.
        rise: part of a cycle in which the number rises, in (0, 1].
        cycles: after so many cycles the number stays at `end`; None repeats for ever.

    Raises:
        PairError: period < 1, or rise outside (0, 1].

    References: Fu et al. (2019), arXiv:1903.10145.
    """

    start: float
    end: float
    period: int
    rise: float = 0.5
    cycles: int | None = None

    def __post_init__(self) -> None:
        if self.period < 1 or not 0 < self.rise <= 1:
            raise PairError(f"Cyclical wants period >= 1 and 0 < rise <= 1, got {self.period} and {self.rise}.")

    def __call__(self, step: Tensor) -> Tensor:
        part = ((step % self.period) / (self.period * self.rise)).clamp(max=1.0)
        if self.cycles is not None:
            part = part.masked_fill(step >= self.cycles * self.period, 1.0)
        return self.start + (self.end - self.start) * part


def at(value: float | Schedule, step: Tensor) -> float | Tensor:
    """The number, or what the schedule says at that step."""
    return value(step) if callable(value) else value
