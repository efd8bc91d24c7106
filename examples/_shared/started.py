"""How a script was started, as a line that starts it again."""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["again", "named_in", "started"]

COMMAND = "pyrovae "
"""What the first word of the command line starts with where the command `pyrovae` runs an example."""


def started(name: str) -> str:
    """The command of an example, without flags: the one that started this process, or else that of the installation.

    Args:
        name: the name of the example.
    """
    first = sys.argv[0]
    if first.startswith(COMMAND):
        return first
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name == f"pyrovae.examples.{name}":
        return f"python -m {spec.name}"
    return f"python {shlex.quote(first)}" if Path(first).stem == name else f"{COMMAND}{name.replace('_', '-')}"


def again(name: str, flags: Sequence[str]) -> str:
    """The command line that starts a script again, to be pasted into a shell.

    Args:
        name: the name of the script.
        flags: its flags.
    """
    return " ".join([started(name), *map(shlex.quote, flags)])


def named_in(doc: str) -> str:
    """The name of the example that a docstring with command lines is of; empty if it has none.

    Args:
        doc: the docstring of a script.
    """
    found = re.search(r"^python examples/(\w+)\.py", doc, re.MULTILINE)
    return found[1] if found else ""
