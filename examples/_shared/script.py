"""How an example script runs: it is recorded, and errors and Ctrl-C become exit codes."""

import argparse
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyrovae.errors import PyrovaeError

__all__ = ["main"]


def main(script: Callable[[argparse.Namespace], Any], flags: argparse.Namespace) -> int:
    """Run a script and print where its files are; an error of this package or Ctrl-C becomes one line on stderr.

    Args:
        script: the function to run; it gets the flags and, as `flags.command`, how the script was started.
        flags: the parsed flags.

    Returns:
        The exit code: 0, 2 after an error, or 130 after Ctrl-C.
    """
    command = {  # python -m pyrovae.report runs the script again
        "script": str(Path(inspect.getfile(script)).resolve()),
        "flags": sys.argv[1:],
        "folder": str(Path.cwd()),
        "out": str(flags.out.resolve()),
    }
    try:
        script(argparse.Namespace(**vars(flags), command=command))
        print(f"\nresults are in {flags.out}/")
    except PyrovaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"\n{str(error) or 'stopped'}", file=sys.stderr)
        return 130
    return 0
