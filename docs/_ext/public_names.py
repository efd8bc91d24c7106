"""Public names are documented, and linked, where they are exported: `pyrovae.inference.fit`.

Signatures name the aliases of types in place of what they stand for.
"""

import inspect
import re
from importlib import import_module
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

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
    "pyrovae.export",
    "pyrovae.sharing",
    "pyrovae.tracking",
    "pyrovae",
)

ALIASES = {
    "~collections.abc.Callable[[...], ~typing.Any]": "ProgramLike",
    "~collections.abc.Mapping[str, ~torch.Tensor]": "Batch",
    "~collections.abc.Callable[[~typing.Any], ~typing.Any]": "Transform",
    "int | ~collections.abc.Sequence[int]": "Shape",
}


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", move)
    app.connect("autodoc-process-signature", shorten)
    return {"parallel_read_safe": True}


def move(app: Sphinx) -> None:
    """Sphinx names a type by its `__module__`: let this be the room that exports it."""
    for room in ROOMS:
        module = import_module(room)
        for name in (*module.__all__, *getattr(module, "_ESTIMATORS", ())):
            value = getattr(module, name)
            if inspect.isclass(value) and value.__module__.startswith(room):
                value.__module__ = room


def shorten(app: Sphinx, what: str, name: str, obj: Any, options: Any, args: str | None, returns: str | None) -> Any:
    if what == "class" and str(args).startswith("(*args"):  # of a `__new__` that records the arguments of `__init__`
        args = stringify_signature(inspect.signature(obj), show_return_annotation=False, unqualified_typehints=True)
    texts = [args and re.sub(r"= <[^<>]*>", "= ...", args), returns]  # a default that is no Python is not parsed
    for long, short in ALIASES.items():
        texts = [text and text.replace(long, short).replace(long.replace("~", ""), short) for text in texts]
    return texts
