"""How the run of an example was made, and the command that writes its report."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from pyrovae.errors import CheckpointError

__all__ = ["command", "record"]


def record(run: Path) -> dict[str, Any]:
    """How a run was made: `script`, its `flags`, the `folder` where it ran, and the way to its run folder, `above`.

    Args:
        run: the run folder.

    Raises:
        CheckpointError: the folder holds no such record; the message has the Python to write instead.
    """
    summary = run / "summary.json"
    found: dict[str, Any] = json.loads(summary.read_text()).get("command", {}) if summary.is_file() else {}
    if not found:
        what = "a summary.json that names no script" if summary.is_file() else "no summary.json"
        raise CheckpointError(
            f"A report requires the finished run of an example, got {str(run)!r} with {what}. Finish the run with "
            f"--resume, or write pyrovae.report.write_report(model, guide, data, run={str(run)!r}) in Python."
        )
    return found


def command(run: Path, flags: list[str]) -> tuple[list[str], str]:
    """The command that made a run, changed into the one that writes its report, and the folder where it runs.

    Args:
        run: the run folder.
        flags: further flags for the script.

    Raises:
        CheckpointError: there is no record of the run, or its script is gone; the message has the Python to write
            instead.
    """
    made = record(run)
    if not Path(made["script"]).is_file():
        raise CheckpointError(
            f"The script of this run, {made['script']!r}, does not exist any more. Build the pair, write "
            f"pyrovae.inference.load_weights(model, guide, {str(run)!r}), and then "
            f"pyrovae.report.write_report(model, guide, data, run={str(run)!r})."
        )
    # One script may make several runs, each in a folder below its own.
    out = Path(os.path.normpath(run.resolve() / made["above"]))
    line = [sys.executable, made["script"], *made["flags"], *flags, "--out", str(out), "--resume", "--report"]
    return line, made["folder"]
