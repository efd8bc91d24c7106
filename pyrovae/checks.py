"""Checks of arguments at the door: counts, seeds, fractions, numbers, choices and tensors.

Each check takes the name of an argument and its value, and gives the value back as a plain Python number. A value
without a meaning raises `SettingError`: "num_samples requires a whole number of at least 1, got -1."
"""

import math
import operator
from collections.abc import Sequence, Sized
from typing import Any, Never

import numpy as np
import torch
from torch import Tensor

from pyrovae.errors import DataError, SettingError, ShapeError

__all__ = [
    "BYTES",
    "COUNTS",
    "SEEDS",
    "check_choice",
    "check_count",
    "check_counts",
    "check_equally_many",
    "check_fraction",
    "check_name",
    "check_names",
    "check_number",
    "check_numbers",
    "check_positive",
    "check_seed",
    "check_several",
    "check_tensor",
]

COUNTS = 2**31 - 1
"""The largest count by default: more draws, steps or rows than this are a slip, and would take for ever."""

BYTES = 2**62
"""More memory than any machine has."""

SEEDS = 2**32
"""A seed is below this number: NumPy's older generators take no larger one, and sums with a seed do not overflow."""


def check_count(name: str, value: Any, least: int = 1, most: int = COUNTS, *, write: Any = None) -> int:
    """A whole number, such as one of draws, epochs or data points.

    Python's, NumPy's and torch's integers count; a boolean or a float, even 3.0, does not.

    Args:
        name: the argument's name, for the error.
        value: what was given.
        least: the smallest number that has a meaning.
        most: the largest.
        write: a value that works, for the error; None leaves it out.

    Raises:
        SettingError: the value is no whole number from `least` to `most`.
    """
    try:
        number = None if _is_bool(value) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # torch refuses floats with errors of its own
        number = None
    if number is None or not least <= number <= most:
        bounds = f"from {least} to {most}" if most != COUNTS or (number or 0) > most else f"of at least {least}"
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


def check_several(name: str, values: Any) -> list[Any]:
    """Several values: a list, a tuple, an array or a tensor of at least one; no text.

    Args:
        name: the argument's name, for the error.
        values: what was given.

    Raises:
        SettingError: it is something else, or empty.
    """
    try:
        several = [] if isinstance(values, str | bytes) else list(values)
    except TypeError:
        several = []
    if not several:
        _refuse(name, "a list of at least one value", values)
    return several


def check_name(name: str, value: Any) -> str:
    """A name, such as that of a site.

    Args:
        name: the argument's name, for the error.
        value: what was given.

    Raises:
        SettingError: the value is no text, or empty.
    """
    if not isinstance(value, str) or not value:
        _refuse(name, "a name, as text", value)
    return value


def check_names(name: str, values: Any) -> list[str]:
    """Several names, or none: a list or a tuple of text.

    Args:
        name: the argument's name, for the error.
        values: what was given.

    Raises:
        SettingError: it is something else.
    """
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        _refuse(name, "a list of names", values)
    return [check_name(name, value) for value in values]


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


def check_tensor(
    name: str,
    value: Any,
    shape: str,
    *,
    dims: int | None = None,
    least_dims: int = 0,
    rows: int = 0,
    finite: bool = False,
) -> Tensor:
    """A tensor of real numbers; an array of NumPy becomes one.

    Args:
        name: the argument's name, for the error.
        value: what was given.
        shape: the shape in words, for the error, such as `(N, *event)`.
        dims: how many dimensions it has; None for any number from `least_dims` on.
        least_dims: how many dimensions it has at least.
        rows: how many rows it has at least.
        finite: whether NaN and infinities are refused.

    Raises:
        DataError: no tensor, complex numbers, or numbers that are not finite.
        ShapeError: other dimensions, or too few rows.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        value = torch.as_tensor(value)
    if not isinstance(value, Tensor) or value.is_complex() or _has_no_values(value):
        got = f"one of {value.dtype}, {value.layout}, on {value.device}" if isinstance(value, Tensor) else _shown(value)
        raise DataError(f"{name} requires a tensor of real numbers {shape}, got {got}.")
    least = max(least_dims, 1 if rows else 0)
    if value.dim() < least or (dims is not None and value.dim() != dims) or (rows and len(value) < rows):
        number = f" with N >= {rows}" if rows > 1 else " with N > 0" if rows else ""
        raise ShapeError(f"{name} requires a tensor {shape}{number}, got {tuple(value.shape)}.")
    if finite and not value.isfinite().all():
        broken = int((~value.isfinite()).sum())
        raise DataError(f"{name} requires finite numbers, got {broken} NaN or infinite ones of {value.numel()}.")
    return value


def check_numbers(name: str, value: Any) -> Tensor:
    """A tensor of real numbers of any shape, on the CPU and without a gradient, for a picture.

    Args:
        name: the argument's name, for the error.
        value: what was given; an array of NumPy becomes a tensor.

    Raises:
        DataError: no tensor of real numbers.
    """
    return check_tensor(name, value, "of any shape").detach().cpu()


def check_equally_many(name: str, values: Any, count: int, of: str) -> Any:
    """A sequence, such as a list of names, with one value for each of some things.

    Args:
        name: the argument's name, for the error.
        values: what was given.
        count: how many values there must be.
        of: what they belong to, in words, for the error.

    Raises:
        ShapeError: there are more or fewer, or the argument is no sequence.
    """
    if not isinstance(values, Sized) or isinstance(values, bytes | str | dict) or len(values) != count:
        got = f"{len(values)}" if isinstance(values, Sized) else f"a {type(values).__name__}"
        raise ShapeError(f"{name} requires {count}, one for each of the {of}, got {got}.")
    return values


def _has_no_values(tensor: Tensor) -> bool:
    return tensor.layout != torch.strided or tensor.device.type == "meta"


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
