"""Packages that are imported where they are used, so that `import pyrovae` needs torch, Pyro and NumPy alone."""

from importlib import import_module
from types import ModuleType

from pyrovae.errors import MissingExtraError

__all__ = ["imported"]


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
