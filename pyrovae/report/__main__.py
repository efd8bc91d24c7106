"""The report of a run of an example: python -m pyrovae.report runs/vae

The run's own script is run again with --resume --report: it builds the pair and the data, trains no further, and writes
report.html. Further flags go to the script: python -m pyrovae.report runs/vae --evaluate 100
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from pyrovae.errors import CheckpointError, PyrovaeError


def record(run: Path) -> dict[str, Any]:
    """How a run was made: `script`, its `flags`, the `folder` where it ran, and the script's run folder `above`.

    Raises:
        CheckpointError: the folder holds no such record; the message has the Python to write instead.
    """
    summary = run / "summary.json"
    found: dict[str, Any] = json.loads(summary.read_text()).get("command", {}) if summary.is_file() else {}
    if not found:
        what = "a summary.json that names no script" if summary.is_file() else "no summary.json"
        raise CheckpointError(
            f"{str(run)!r} is not the finished run of an example: it has {what}. Finish it with --resume, or write "
            f"the report from Python: pyrovae.report.write_report(model, guide, data, run={str(run)!r})."
        )
    return found


def command(run: Path, flags: list[str]) -> tuple[list[str], str]:
    """The command that made a run, turned into the one that reports it, and the folder where it is run.

    Raises:
        CheckpointError: there is no record of it, or its script is gone; the message has the Python to write instead.
    """
    made = record(run)
    if not Path(made["script"]).is_file():
        raise CheckpointError(
            f"the script of this run, {made['script']!r}, is not there any more. Build the pair, load it with "
            f"pyrovae.inference.load_weights(model, guide, {str(run)!r}), and write the report from Python: "
            f"pyrovae.report.write_report(model, guide, data, run={str(run)!r})."
        )
    # A run that one script makes among others is in a folder below the script's.
    out = Path(os.path.normpath(run.resolve() / made["above"]))
    line = [sys.executable, made["script"], *made["flags"], *flags, "--out", str(out), "--resume", "--report"]
    return line, made["folder"]


def main() -> int:
    p = argparse.ArgumentParser(prog="python -m pyrovae.report", description=__doc__.splitlines()[0])
    p.add_argument("run", type=Path, help="run folder of an example; its script is run again")
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
