"""Pyro's store of parameters while a function is captured."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyro

from pyrovae.inference.compile.reasons import UnsteadyError

__all__ = ["parameters_kept"]


@contextmanager
def parameters_kept() -> Iterator[None]:
    """Raise if a parameter appears inside, and take it out of Pyro's store: a capture has no values for it."""
    store = pyro.get_param_store()
    entries = [store._params, store._param_to_name, store._constraints]
    before = [dict(part) for part in entries]
    try:
        yield
    except Exception as error:
        if new := _put_back(entries, before):
            raise UnsteadyError(f"the parameter {new[0]!r} appears") from error
        raise
    if new := _put_back(entries, before):
        raise UnsteadyError(f"the parameter {new[0]!r} appears")


def _put_back(entries: list[dict], before: list[dict]) -> list[str]:
    """Undo what was added to Pyro's store; gives the names of new parameters."""
    new = [name for name in entries[0] if name not in before[0]]
    if any(part.keys() != old.keys() for part, old in zip(entries, before, strict=True)):
        for part, old in zip(entries, before, strict=True):
            part.clear()
            part.update(old)
    return new
