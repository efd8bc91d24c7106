"""Imports that may fail: extras, so that `import pyrovae` needs torch, Pyro and NumPy alone, and torch's private names.

Capturing and compiling need names that torch does not promise to keep. Where a torch lacks one, a stand-in takes its
place, everything runs eagerly, and a warning names it.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

from pyrovae.errors import MissingExtraError

__all__ = ["imported", "lacking", "private"]

_LACKING: list[str] = []


def imported(module: str, user: str, install: str) -> ModuleType:
    """A module of another package.

    Args:
        module: its full name, such as `"sklearn.datasets"`.
        user: what requires it, and the verb, such as `"load('digits') requires"`; the error starts with it.
        install: what pip has to install, such as `"pyrovae[data]"`.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(f"{user} {package}, which is not installed. Write pip install '{install}'.") from error


def private(module: str, name: str = "") -> Any:
    """A private module of torch, or a name in it; a stand-in where this torch lacks it.

    Nothing is an instance of the stand-in. It may be the base of a class; using it raises an ImportError.

    Args:
        module: the full name of the module.
        name: the name in it; empty for the module itself.
    """
    try:
        found = import_module(module)
        return getattr(found, name) if name else found
    except (ImportError, AttributeError):
        full = f"{module}.{name}".rstrip(".")
        _LACKING.append(full)
        return _Absent("Absent", (), {"__init__": lambda self, *args, **kwargs: _refuse(full), "full": full})


def lacking() -> tuple[str, ...]:
    """The private names of torch that were asked for, and that this torch lacks."""
    return tuple(_LACKING)


class _Absent(type):
    """The class of a stand-in, which has no attributes."""

    def __getattr__(cls, name: str) -> Any:
        return _refuse(f"{type.__getattribute__(cls, 'full')}.{name}")


def _refuse(name: str) -> Any:
    raise ImportError(f"this torch has no {name}")
