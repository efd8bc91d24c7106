"""How an example script runs: it is recorded, and errors and Ctrl-C become exit codes."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pyrovae.data import check_source
from pyrovae.errors import ProcessError, PyrovaeError
from pyrovae.examples._shared.folders import run_folder
from pyrovae.examples._shared.started import again
from pyrovae.inference.processes.launch import is_main_script

__all__ = ["main"]

INSTALL = "Write pip install 'pyrovae[data]'."


def main(script: Callable[[argparse.Namespace], Any], flags: argparse.Namespace) -> int:
    """Run a script and print where its files are; an error of this package or Ctrl-C becomes one line on stderr.

    Args:
        script: the function to run; it gets the flags and, as `flags.command`, the line that starts it again.
        flags: the parsed flags.

    Returns:
        The exit code: 0, 2 after an error, or 130 after Ctrl-C.
    """
    with _one_speaks() as folder:
        return _main(script, flags, folder)


def _main(script: Callable[[argparse.Namespace], Any], flags: argparse.Namespace, folder: Path | None) -> int:
    """`main`, with a folder in the place of the run folder where another process writes that."""
    try:
        if hasattr(flags, "data"):
            check_source(flags.data)  # a misspelt name takes no folder
        flags = argparse.Namespace(**vars(flags) | {"out": folder or run_folder(flags)})
    except PyrovaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    command = again(Path(inspect.getfile(script)).stem, sys.argv[1:])
    try:
        script(argparse.Namespace(**vars(flags), command=command))
        print(f"\nresults are in {flags.out}/")
    except PyrovaeError as error:
        if folder is None or isinstance(error, ProcessError):
            print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: this example requires {error.name}, which is not installed. {INSTALL}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"\n{str(error) or 'stopped'}", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _one_speaks() -> Iterator[Path | None]:
    """Of several processes, process 0 prints and writes; what others write goes into a folder that is removed."""
    if is_main_script():
        yield None
        return
    with TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield Path(folder)
