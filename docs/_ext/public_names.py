"""Public names are documented, and linked, where they are exported: `pyrovae.inference.fit`."""

import inspect
from importlib import import_module

from sphinx.application import Sphinx

ROOMS = (
    "pyrovae.errors",
    "pyrovae.data",
    "pyrovae.data.tokens",
    "pyrovae.data.sound",
    "pyrovae.networks",
    "pyrovae.models.distributions",
    "pyrovae.models.likelihoods",
    "pyrovae.models.priors",
    "pyrovae.models",
    "pyrovae.guides",
    "pyrovae.inference",
    "pyrovae.plots",
    "pyrovae.report",
)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", lambda app: move())
    return {"parallel_read_safe": True}


def move() -> None:
    """Sphinx names a type by its `__module__`: let this be the room that exports it."""
    for room in ROOMS:
        module = import_module(room)
        for name in (*module.__all__, *getattr(module, "_ESTIMATORS", ())):
            value = getattr(module, name)
            if inspect.isclass(value) and value.__module__.startswith(room):
                value.__module__ = room
