"""How much memory a file may take: compressed files and images are small on disk, and may be large beyond measure."""

from pyrovae.errors import DataError

__all__ = ["LOAD_LIMIT", "check_bytes", "shown_bytes"]

LOAD_LIMIT = 2**31
"""By default, data that take more bytes than this in memory are not loaded: 2 GiB."""


def check_bytes(origin: str, count: int, limit: int) -> None:
    """Refuse data that take too much memory, before the memory is taken.

    Args:
        origin: where the data come from, for the error.
        count: the bytes that they take in memory.
        limit: the bytes that they may take.

    Raises:
        DataError: they take more.
    """
    if count > limit:
        raise DataError(
            f"{origin} takes {shown_bytes(count)} in memory, and max_bytes allows {shown_bytes(limit)}. If you trust "
            f"the data, write load(..., max_bytes={count}), or --max-bytes {count}."
        )


def shown_bytes(count: int) -> str:
    """A number of bytes in words.

    Args:
        count: the number.
    """
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
