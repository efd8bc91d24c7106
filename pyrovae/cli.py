"""The command `pyrovae`: run an installed example, list all of them, write the report of a run.

    pyrovae list                    the examples: what each shows, its data, its time
    pyrovae vae --epochs 5          run an example; its flags are those of python examples/vae.py in a clone
    pyrovae vae --help              the flags of an example
    pyrovae report runs/vae         write the page of a run folder, as python -m pyrovae.report does

`python -m pyrovae` is the same command.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from pyrovae.gallery import example_names, examples
from pyrovae.version import __version__

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the command line without the program's name; by default that of the process.

    Returns:
        The exit status: that of the example or of the report, or 0.

    Raises:
        SystemExit: the command line is wrong (2), or asked for help (0).
    """
    first, *flags = (sys.argv[1:] if argv is None else list(argv)) or ["--help"]
    name = _parser().parse_args([first]).command  # the flags after it are the command's own
    if name == "list":
        _list_parser().parse_args(flags)
        _show(_table())
        return 0
    if name == "report":
        return import_module("pyrovae.report.__main__").main(flags)
    return _run(name, flags)


def _run(name: str, flags: Sequence[str]) -> int:
    """Run an example in this process, as its script does."""
    before = sys.argv
    # The example finds its flags here, and how it was started.
    sys.argv = [f"pyrovae {name.replace('_', '-')}", *flags]
    try:
        example = import_module(f"pyrovae.examples.{name}")
        return import_module("pyrovae.examples._shared").main(example.script, example.arguments())
    finally:
        sys.argv = before


def _parser() -> argparse.ArgumentParser:
    title, more = __doc__.split("\n\n", 1)
    p = argparse.ArgumentParser(
        prog="pyrovae",
        description=title,
        epilog=more,
        usage="pyrovae [-h] [--version] {list,report,EXAMPLE} ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--version", action="version", version=f"pyrovae {__version__}")
    p.add_argument("command", type=_command, metavar="COMMAND", help="list, report, or the name of an example")
    return p


def _list_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog="pyrovae list", description="List the examples.")


def _command(text: str) -> str:
    """The command that a name stands for; a dash counts as an underscore."""
    name, known = text.replace("-", "_"), ["list", "report", *example_names()]
    if name in known:
        return name
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.0)[0].replace("_", "-")
    raise argparse.ArgumentTypeError(
        f"there is no example {text!r}; the nearest name is {near!r}. Write pyrovae list to see all of them."
    )


def _show(text: str) -> None:
    """Print a text, to a reader who may stop early, such as `head`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end


def _table() -> str:
    """The examples, a few lines each."""
    parts = []
    for one in examples():
        where = "offline" if one.offline else "downloaded"
        time = f"; about {one.time}" if one.time else ""
        parts.append(f"pyrovae {one.name.replace('_', '-')}\n  {one.shows}\n  {one.data}, {where}{time}")
    return "\n\n".join([*parts, "pyrovae NAME --help lists the flags of an example."])
