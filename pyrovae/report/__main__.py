"""Write a page of a run folder: python -m pyrovae.report runs/vae

summary.html shows what the folder holds: curves, numbers, settings, pictures. Nothing in the folder is run, so it may
come from anyone.

The full report, report.html, needs the pair and its data. With --run-script the example of pyrovae that made the run
is run again, with the flags that the folder records: it builds the pair, trains no further, and writes the report.
Only pyrovae's own examples are run, never a script from the folder. Further flags go to the example:
python -m pyrovae.report runs/vae --run-script --evaluate 100
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from pyrovae.errors import PyrovaeError
from pyrovae.report.folder import report_folder
from pyrovae.report.rerun import command, record

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Write the page of the folder, or run its example again.

    Args:
        argv: the command line; by default that of the process.

    Returns:
        The exit status: 0, 2 after an error, or that of the example.
    """
    first, more = __doc__.split("\n\n", 1)
    p = argparse.ArgumentParser(
        prog="python -m pyrovae.report",
        description=first,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("run", type=Path, help="run folder")
    p.add_argument("--run-script", action="store_true", help="run the example that made the run, for the full report")
    arguments, flags = p.parse_known_args(argv)
    if flags and not arguments.run_script:
        p.error(f"{' '.join(flags)}: further flags go to the example, which only --run-script runs")
    try:
        return _run(arguments.run, flags) if arguments.run_script else _show(arguments.run)
    except PyrovaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _show(run: Path) -> int:
    """Write the page of what the folder holds, and say how to get the full report."""
    path, files = report_folder(run)
    for sentence in files.broken:
        print(f"left out: {sentence}", file=sys.stderr)
    print(f"page    {path}, from the files of the folder; nothing was run")
    try:
        line = command(run)
    except PyrovaeError:
        return 0
    print(f"\nThe full report needs the pair. This would run a script on your machine:\n  {shlex.join(line)}")
    print(f"So would: python -m pyrovae.report {shlex.quote(str(run))} --run-script")
    return 0


def _run(run: Path, flags: list[str]) -> int:
    """Run the example of a run, and say so first."""
    line, folder = command(run, flags), record(run).folder
    print(shlex.join(line), flush=True)
    if folder != str(Path.cwd()):
        print(f"The run was started in {folder!r}; relative paths among its flags start there.", flush=True)
    return subprocess.run(line).returncode


if __name__ == "__main__":
    sys.exit(main())
