"""What a flag may be: argparse refuses any other value with a sentence, before data are loaded."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from pyrovae.checks import BYTES, check_count, check_fraction, check_number, check_positive, check_seed
from pyrovae.errors import SettingError
from pyrovae.inference.diagnostics.gaps import STAGES
from pyrovae.inference.training.device import choose_device

__all__ = [
    "below_one",
    "byte_count",
    "counts",
    "device",
    "few_or_none",
    "fraction",
    "integers",
    "labels",
    "names",
    "non_negative",
    "numbers",
    "positive",
    "positive_int",
    "refining_steps",
    "seed",
    "share",
    "some_integers",
    "whole",
]


def positive_int(text: str) -> int:
    """A whole number of at least 1.

    Args:
        text: what stands on the command line.
    """
    return _checked(check_count, int, text)


def byte_count(text: str) -> int:
    """A number of bytes: a whole number of at least 1, of any size.

    Args:
        text: what stands on the command line.
    """
    return _checked(lambda name, value: check_count(name, value, most=BYTES), int, text)


def whole(text: str) -> int:
    """A whole number of at least 0.

    Args:
        text: what stands on the command line.
    """
    return _checked(lambda name, value: check_count(name, value, 0), int, text)


def refining_steps(text: str) -> int:
    """A number of steps that refine a guide: none, or enough to tell whether they sufficed.

    Args:
        text: what stands on the command line.
    """
    return _none_or(STAGES, text)


def seed(text: str) -> int:
    """A whole number from 0 to 2^32 - 1.

    Args:
        text: what stands on the command line.
    """
    return _checked(check_seed, int, text)


def positive(text: str) -> float:
    """A finite number above 0.

    Args:
        text: what stands on the command line.
    """
    return _checked(check_positive, float, text)


def non_negative(text: str) -> float:
    """A finite number of at least 0.

    Args:
        text: what stands on the command line.
    """
    return _checked(lambda name, value: check_number(name, value, 0), float, text)


def fraction(text: str) -> float:
    """A number from 0 to 1.

    Args:
        text: what stands on the command line.
    """
    return _checked(check_fraction, float, text)


def below_one(text: str) -> float:
    """A number of at least 0 and below 1.

    Args:
        text: what stands on the command line.
    """
    return _checked(lambda name, value: check_fraction(name, value, one=False), float, text)


def share(text: str) -> float:
    """A number above 0 and below 1.

    Args:
        text: what stands on the command line.
    """
    return _checked(lambda name, value: check_fraction(name, value, ends=False), float, text)


def few_or_none(text: str) -> int:
    """A whole number that is 0, or at least 2: two kinds of data points take half of it each.

    Args:
        text: what stands on the command line.
    """
    return _none_or(2, text)


def integers(text: str) -> list[int]:
    """Several whole numbers of at least 1: `"400,200"` is `[400, 200]`.

    Args:
        text: what stands on the command line.
    """
    return [positive_int(part) for part in text.split(",") if part]


def some_integers(text: str) -> list[int]:
    """One whole number of at least 1, or several.

    Args:
        text: what stands on the command line.
    """
    return [positive_int(part) for part in text.split(",")]


def counts(text: str) -> list[int]:
    """One whole number of at least 1, or several different ones: `"50,100"` is `[50, 100]`.

    Args:
        text: what stands on the command line.
    """
    return _different(some_integers(text))


def labels(text: str) -> list[int]:
    """One whole number of at least 0, or several different ones: `"0,4"` is `[0, 4]`.

    Args:
        text: what stands on the command line.
    """
    return _different([whole(part) for part in text.split(",")])


def numbers(text: str) -> list[float]:
    """One finite number of at least 0, or several different ones: `"1,4.5"` is `[1.0, 4.5]`.

    Args:
        text: what stands on the command line.
    """
    return _different([non_negative(part) for part in text.split(",")])


def device(text: str) -> str:
    """The name of a device that this machine has.

    Args:
        text: what stands on the command line.
    """
    return _checked(lambda _, value: str(choose_device(value)) if value != "auto" else value, str, text)


def names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """One name, or several different ones: `"plain,vamp"` is `["plain", "vamp"]`.

    Args:
        known: the names to choose from; argparse reports any other.
    """

    def chosen(text: str) -> list[str]:
        parts = text.split(",")
        if unknown := [name for name in parts if name not in known]:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}. Choose from {','.join(known)}.")
        return _different(parts)

    return chosen


def _different(parts: list[Any]) -> list[Any]:
    """The parts of a list, none of them twice: each has a run of its own."""
    if len(set(parts)) < len(parts):
        raise argparse.ArgumentTypeError(
            f"requires a different number or name each time, got {','.join(map(str, parts))}."
        )
    return parts


def _checked(check: Callable[[str, Any], Any], kind: type, text: str) -> Any:
    """The number that a text stands for, checked; argparse puts the name of the flag before the sentence."""
    try:
        value: Any = kind(text)
    except ValueError:
        value = text
    try:
        return check("flag", value)
    except SettingError as error:
        raise argparse.ArgumentTypeError(
            str(error).removeprefix("flag ").removeprefix("device ").split(" Write ")[0]
        ) from None


def _none_or(least: int, text: str) -> int:
    """A whole number that is 0, or at least `least`."""
    return whole(text) and _checked(lambda name, value: check_count(name, value, least), int, text)
