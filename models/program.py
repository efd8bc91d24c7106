"""What every program shares: parameters that live in the module, and the size of the data plate."""

from typing import Any

import pyro
from pyro.nn import PyroModule
from torch import Tensor

from pyrovae.errors import PairError

__all__ = ["Program", "plate_size"]


class Program(PyroModule):
    """A Pyro program whose parameters live in itself, so `state_dict`, `.to` and torch optimizers just work.

    Pyro keeps the parameters of a `PyroModule` in one global store unless the setting
    `module_local_params` is on while it is built and called. A program turns it on for itself alone.
    """

    def __init__(self) -> None:
        with pyro.settings.context(module_local_params=True):
            super().__init__()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with pyro.settings.context(module_local_params=True):
            return super().__call__(*args, **kwargs)


def plate_size(x: Tensor | None, size: int | None) -> int:
    """The number of data: that of the batch `x`, or the `size` asked for when there is none.

    Raises:
        PairError: neither is given, the two differ, or there is no datum.
    """
    if x is None and size is None:
        raise PairError("A model wants data or a size: model(x=batch) to score, model(size=16) to generate.")
    given = size if x is None else len(x)
    if size not in (None, given) or not given:
        raise PairError(f"A model wants data, or a size of at least 1, got size={size} and {given} data.")
    return given
