"""Memory that ran out, as an error that says what to write."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pyrovae.errors import OutOfMemoryError

__all__ = ["enough_memory"]

_WORDS = ("can't allocate memory", "out of memory", "not enough memory")
"""What torch says; on a CPU it raises a plain RuntimeError."""


@contextmanager
def enough_memory(hint: str) -> Iterator[None]:
    """Inside, an allocation that fails raises an error of this package.

    Args:
        hint: the line to write instead.

    Raises:
        OutOfMemoryError: an allocation failed.
    """
    try:
        yield
    except Exception as error:
        failed = next(filter(_is_allocation, _causes(error)), None)
        if failed is None or isinstance(error, OutOfMemoryError):
            raise
        raise OutOfMemoryError(f"the memory is exhausted: {str(failed).splitlines()[0]} {hint}") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, the one that caused it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_allocation(error: BaseException) -> bool:
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS))
