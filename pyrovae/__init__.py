"""Variational autoencoders as probabilistic programs, on Pyro and PyTorch.

A VAE is a model p(x, z) and a guide q(z | x), both Pyro programs. `pyrovae.models` and `pyrovae.guides` hold such
programs, and everything in `pyrovae.inference` works on any pair.

A subpackage is imported when it is first used: `import pyrovae` suffices to write `pyrovae.models.VAE`.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyrovae.version import __version__

if TYPE_CHECKING:
    from pyrovae import data, errors, export, guides, inference, models, networks, plots, report, sharing, tracking
    from pyrovae.recorded import Recorded
    from pyrovae.sharing import Card, Pair, Run, load, load_run, push_to_hub, save

__all__ = [
    "Card",
    "Pair",
    "Recorded",
    "Run",
    "__version__",
    "data",
    "errors",
    "export",
    "guides",
    "inference",
    "load",
    "load_run",
    "models",
    "networks",
    "plots",
    "push_to_hub",
    "report",
    "save",
    "sharing",
    "tracking",
]

_HOMES = {"Recorded": "pyrovae.recorded"} | dict.fromkeys(
    ("Card", "Pair", "Run", "load", "load_run", "push_to_hub", "save"), "pyrovae.sharing"
)
"""Where the names are defined that are no subpackages."""

# Pyro imports tqdm's bars, and in a notebook without ipywidgets each import would warn. Bars are then plain text.
warnings.filterwarnings("ignore", message="IProgress not found")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in __all__:
        return import_module(f"pyrovae.{name}")
    raise AttributeError(
        f"module 'pyrovae' has no attribute {name!r}. Models are in pyrovae.models, guides in pyrovae.guides, networks "
        "in pyrovae.networks, data in pyrovae.data, and fit, evaluate and all other tools in pyrovae.inference."
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
