"""Write the report of an example's run: python -m pyrovae.report runs/vae

This runs a script named in the folder: open only folders that you trust. The script is the one that made the run. With
--resume --report it builds the pair and the data, trains no further, and writes report.html. Further flags go to the
script: python -m pyrovae.report runs/vae --evaluate 100
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from pyrovae.errors import PyrovaeError
from pyrovae.report.rerun import command


def main() -> int:
    """Parse the arguments, print the command, and run it; the exit status is that of the script."""
    first, more = __doc__.split("\n\n", 1)
    p = argparse.ArgumentParser(prog="python -m pyrovae.report", description=first, epilog=more)
    p.add_argument("run", type=Path, help="run folder of an example; its script runs again")
    arguments, flags = p.parse_known_args()
    try:
        line, folder = command(arguments.run, flags)
    except PyrovaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(shlex.join(line), flush=True)
    return subprocess.run(line, cwd=folder if Path(folder).is_dir() else None).returncode


if __name__ == "__main__":
    sys.exit(main())
