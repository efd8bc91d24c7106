"""Pyro's store of parameters while a function is captured."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro

from pyrovae.inference.compile.reasons import UnsteadyError

__all__ = ["parameters_kept"]


@contextmanager
def parameters_kept() -> Iterator[None]:
    """Raise if a parameter appears inside, and take it out of Pyro's store: a capture has no values for it."""
    before = pyro.get_param_store().get_state()
    try:
        yield
    except Exception as error:
        if new := _new_parameters(before):
            raise UnsteadyError(f"the parameter {new[0]!r} appears") from error
        raise
    if new := _new_parameters(before):
        raise UnsteadyError(f"the parameter {new[0]!r} appears")


def _new_parameters(before: Any) -> list[str]:
    """The names that have been added to Pyro's store, which is then as it was."""
    store = pyro.get_param_store()
    new = [name for name in store._params if name not in before["params"]]
    for name in new:
        store._param_to_name.pop(store._params.pop(name), None)
        store._constraints.pop(name, None)
    return new
