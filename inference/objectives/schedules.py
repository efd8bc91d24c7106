"""Schedules: numbers that change from step to step, as functions of the objective's counter of steps."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pyrovae.checks import check_count, check_fraction, check_number, check_positive

__all__ = ["Cyclical", "Linear", "Schedule", "at", "check_weight"]

Schedule = Callable[[Tensor], Tensor]
"""From the number of steps taken, a 0-dim tensor, to the scheduled number, in tensor code."""


@dataclass(frozen=True)
class Linear:
    """A number that goes from `start` to `end` in `steps` steps, and then stays at `end`.

    Args:
        start: the number before the first step.
        end: the number from step `steps` on.
        steps: how many steps the change takes, at least 1.

    Raises:
        SettingError: steps < 1, or a number that is not finite.

    References: Bowman et al. (2016), arXiv:1511.06349.
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        check_number("start", self.start)
        check_number("end", self.end)
        check_count("steps", self.steps, write=1000)

    def __call__(self, step: Tensor) -> Tensor:
        return self.start + (self.end - self.start) * (step / self.steps).clamp(max=1.0)


@dataclass(frozen=True)
class Cyclical:
    """A number that goes from `start` to `end` in the first part of each period, and stays at `end` for the rest.

    Args:
        start, end: the numbers at both ends of the rise.
        period: steps of one cycle, at least 1.
        rise: the part of a cycle in which the number changes, in (0, 1].
        cycles: after so many cycles the number stays at `end`; None repeats for ever.

    Raises:
        SettingError: period or cycles < 1, rise outside (0, 1], or a number that is not finite.

    References: Fu et al. (2019), arXiv:1903.10145.
    """

    start: float
    end: float
    period: int
    rise: float = 0.5
    cycles: int | None = None

    def __post_init__(self) -> None:
        check_number("start", self.start)
        check_number("end", self.end)
        check_count("period", self.period, write=1000)
        check_positive("rise", check_fraction("rise", self.rise, write=0.5), write=0.5)
        if self.cycles is not None:
            check_count("cycles", self.cycles)

    def __call__(self, step: Tensor) -> Tensor:
        part = ((step % self.period) / (self.period * self.rise)).clamp(max=1.0)
        if self.cycles is not None:
            part = part.masked_fill(step >= self.cycles * self.period, 1.0)
        return self.start + (self.end - self.start) * part


def check_weight(name: str, value: float | Schedule) -> None:
    """Refuse a number without a meaning; a schedule passes.

    Args:
        name: the argument's name, for the error.
        value: a number of at least 0, or a schedule.

    Raises:
        SettingError: the number is negative, or not finite.
    """
    if not callable(value):
        check_number(name, value, 0)


def at(value: float | Schedule, step: Tensor) -> float | Tensor:
    """A number, or the value of a schedule at a step.

    Args:
        value: the number or the schedule.
        step: the number of steps taken, a 0-dim tensor.
    """
    return value(step) if callable(value) else value
