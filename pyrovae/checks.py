"""Checks of settings at the door: counts, seeds, fractions, numbers and choices.

Each check takes the name of an argument and its value, and gives the value back as a plain Python number. A value
without a meaning raises `SettingError`: "num_samples requires a whole number of at least 1, got -1."
"""

import math
import operator
from collections.abc import Sequence
from typing import Any, Never

from pyrovae.errors import SettingError

__all__ = [
    "SEEDS",
    "check_choice",
    "check_count",
    "check_counts",
    "check_fraction",
    "check_number",
    "check_positive",
    "check_seed",
]

SEEDS = 2**32
"""A seed is below this number: NumPy's older generators take no larger one, and sums with a seed do not overflow."""


def check_count(name: str, value: Any, least: int = 1, most: int | None = None, *, write: Any = None) -> int:
    """A whole number, such as one of draws, epochs or data points.

    Python's, NumPy's and torch's integers count; a boolean or a float, even 3.0, does not.

    Args:
        name: the argument's name, for the error.
        value: what was given.
        least: the smallest number that has a meaning.
        most: the largest; None for no bound.
        write: a value that works, for the error; None leaves it out.

    Raises:
        SettingError: the value is no whole number from `least` to `most`.
    """
    try:
        number = None if _is_bool(value) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # torch refuses floats with errors of its own
        number = None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        _refuse(name, f"a whole number {bounds}", value, write)
    return number


def check_counts(name: str, values: Any, least: int = 1, *, fewest: int = 1, write: Any = None) -> tuple[int, ...]:
    """Several whole numbers, such as the widths of layers, each as in `check_count`.

    Args:
        name: the argument's name, for the error.
        values: a sequence of numbers.
        least: the smallest number that has a meaning.
        fewest: how many numbers there are at least.
        write: a value that works, for the error; None leaves it out.

    Raises:
        SettingError: the value is no such sequence.
    """
    try:
        counts = tuple(check_count(name, value, least) for value in values)
    except (TypeError, SettingError):
        counts = ()
        fewest = 1
    if len(counts) < fewest:
        _refuse(name, f"whole numbers of at least {least}", values, write)
    return counts


def check_seed(name: str, value: Any) -> int:
    """A seed: a whole number from 0 to 2^32 - 1.

    Args:
        name: the argument's name, for the error.
        value: what was given.

    Raises:
        SettingError: the value is no such number.
    """
    try:
        return check_count(name, value, 0, SEEDS - 1)
    except SettingError:
        _refuse(name, "a whole number from 0 to 2**32 - 1", value, _folded(value))


def check_number(name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, write: Any = None) -> float:
    """A finite number from `low` to `high`, both included.

    Args:
        name: the argument's name, for the error.
        value: what was given.
        low, high: the smallest and the largest number that have a meaning.
        write: a value that works, for the error; None leaves it out.

    Raises:
        SettingError: the value is no such number.
    """
    number = _number(value)
    if number is None or not low <= number <= high:
        bounds = {
            (True, True): "",
            (True, False): f" of at most {high:g}",
            (False, True): f" of at least {low:g}",
            (False, False): f" from {low:g} to {high:g}",
        }
        _refuse(name, f"a finite number{bounds[math.isinf(low), math.isinf(high)]}", value, write)
    return number


def check_positive(name: str, value: Any, *, write: Any = None) -> float:
    """A finite number above 0.

    Args:
        name: the argument's name, for the error.
        value: what was given.
        write: a value that works, for the error; None leaves it out.

    Raises:
        SettingError: the value is no such number.
    """
    number = _number(value)
    if number is None or number <= 0:
        _refuse(name, "a finite number above 0", value, write)
    return number


def check_fraction(name: str, value: Any, *, ends: bool = True, one: bool = True, write: Any = None) -> float:
    """A number from 0 to 1, such as a probability or a rate.

    Args:
        name: the argument's name, for the error.
        value: what was given.
        ends: whether 0 and 1 themselves have a meaning.
        one: whether 1 has a meaning, where 0 has.
        write: a value that works, for the error; None leaves it out.

    Raises:
        SettingError: the value is no such number.
    """
    number = _number(value)
    if number is None or not 0 <= number <= 1 or (not ends and number in (0, 1)) or (not one and number == 1):
        whole = "a number from 0 to 1" if one else "a number of at least 0 and below 1"
        _refuse(name, whole if ends else "a number between 0 and 1, without 0 and 1", value, write)
    return number


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """One of a few values.

    Args:
        name: the argument's name, for the error.
        value: what was given.
        choices: the values that have a meaning.

    Raises:
        SettingError: the value is none of them.
    """
    if not any(type(choice) is type(value) and choice == value for choice in choices):
        _refuse(name, " or ".join(map(repr, choices)), value, repr(choices[0]))
    return value


def _folded(value: Any) -> str:
    """The line that makes a seed of a whole number; 0 for anything else."""
    return f"{value} % 2**32" if isinstance(value, int) and not isinstance(value, bool) else "0"


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")


def _number(value: Any) -> float | None:
    """The value as a finite float; None if it is no finite number. Text is no number, even where it spells one."""
    try:
        number = math.nan if _is_bool(value) or isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return number if math.isfinite(number) else None


def _refuse(name: str, required: str, value: Any, write: Any = None) -> Never:
    hint = "" if write is None else f" Write {name}={write}."
    raise SettingError(f"{name} requires {required}, got {_shown(value)}.{hint}")


def _shown(value: Any) -> str:
    """A value on one short line."""
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
