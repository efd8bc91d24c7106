"""The progress bar of every function that may take longer than a few seconds."""

from typing import Any

from pyrovae.inference.processes.launch import current

__all__ = ["progress_bar"]


def progress_bar(progress: bool, total: int, unit: str, initial: int = 0) -> Any:
    """A tqdm bar, as a context manager; in a notebook, tqdm's widget. Of several processes, process 0 shows it.

    Args:
        progress: whether to show the bar.
        total: the number of units in all.
        unit: what is counted, such as "step" or "chunk".
        initial: the number of units done before, such as by a run that is resumed.
    """
    from tqdm.auto import tqdm

    return tqdm(total=total, initial=initial, unit=unit, disable=not (progress and current().main), dynamic_ncols=True)
