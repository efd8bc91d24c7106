"""The base class of programs, whose parameters live in the module, and the size of the data plate."""

from abc import ABCMeta
from typing import Any

import pyro
from pyro import poutine
from pyro.nn import PyroModule
from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.recorded import Recorded

__all__ = ["Program", "plate_size", "reopened"]


class _ProgramMeta(ABCMeta, type(PyroModule)):  # type: ignore[misc]
    """Pyro's metaclass, which also enforces abstract methods: a class that lacks one raises TypeError when built."""


class Program(Recorded, PyroModule, metaclass=_ProgramMeta):  # type: ignore[metaclass]
    """A Pyro program that owns its parameters, so `state_dict`, `.to` and torch optimizers work as for any module.

    Pyro keeps the parameters of a `PyroModule` in one global store, unless the setting `module_local_params` is on
    while the module is built and called. A program turns the setting on for itself alone.
    """

    def __init__(self) -> None:
        with pyro.settings.context(module_local_params=True):
            super().__init__()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with pyro.settings.context(module_local_params=True):
            return super().__call__(*args, **kwargs)


def plate_size(x: Tensor | None, size: int | None) -> int:
    """The number of data points: that of the batch `x`, or `size` where there is no batch.

    Args:
        x: a batch of data, or None to generate.
        size: the number of data points to generate; with a batch, None or that of the batch.

    Raises:
        PairError: neither is given, the two differ, or the number is 0.
    """
    if x is None and size is None:
        raise PairError("A model requires data or a size: model(x=batch) to score, model(size=16) to generate.")
    given = size if x is None else len(x)
    if size not in (None, given) or not given:
        raise PairError(f"A model requires data, or a size of at least 1, got size={size} and {given} data points.")
    return given


def reopened(size: int) -> pyro.plate:
    """The plate "data", for further sites of a program that calls another one, whose own plate is closed already.

    Args:
        size: the number of data points, that of the plate before.
    """
    with poutine.block(hide=["data"]):  # a trace holds the site of a plate once
        return pyro.plate("data", size, dim=-1)
