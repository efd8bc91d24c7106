"""The progress bar of everything that may take longer than a few seconds."""

from typing import Any

__all__ = ["progress_bar"]


def progress_bar(progress: bool, total: int, unit: str, initial: int = 0) -> Any:
    """A tqdm bar, as a context manager; in a notebook it is tqdm's widget.

    Args:
        progress: whether to show it.
        total: how many units there are.
        unit: what is counted, such as "step" or "chunk".
        initial: how many are done already.
    """
    from tqdm.auto import tqdm

    return tqdm(total=total, initial=initial, unit=unit, disable=not progress, dynamic_ncols=True)
