"""Streams: data without a length, which come in batches, one after the other."""

import sys
from collections.abc import Collection, Iterable
from typing import Any

__all__ = ["gives_rows", "is_stream"]


def is_stream(data: Any) -> bool:
    """Whether something gives batches one after the other: it is iterable, and neither a container nor indexed.

    Args:
        data: what a function was given as data.
    """
    indexed = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    return isinstance(data, Iterable) and not isinstance(data, Collection | type) and not indexed


def gives_rows(stream: Any) -> bool:
    """Whether a stream gives single rows, as Hugging Face's `datasets.IterableDataset` does, and no batches.

    Args:
        stream: a stream.
    """
    module = sys.modules.get("datasets")  # who has such a stream has imported it
    return module is not None and isinstance(stream, module.IterableDataset)
