"""How the run of an example was made, and the command that writes its full report.

The record lies in the run folder, so whoever sent the folder wrote it. It chooses one of the suite's own examples by
name, and flags that the example's parser takes. It chooses no file to run, no module to import, and no folder.
"""

import io
import pkgutil
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pyrovae.errors import CheckpointError, PyrovaeError
from pyrovae.report.files import read_json

__all__ = ["Record", "command", "examples", "record"]

MOST, LONGEST = 200, 4000
"""How many flags a record has at most, and how many characters each."""


@dataclass(frozen=True)
class Record:
    """How a run was made.

    Attributes:
        script: the name of the script's file, without its folder.
        flags: the flags of the script.
        folder: the folder where it ran; relative paths among the flags start there.
        below: whether the script makes several runs, each in a folder below its own.
    """

    script: str
    flags: tuple[str, ...]
    folder: str
    below: bool

    @property
    def example(self) -> str | None:
        """The name of the suite's example that this script is; None of any other script."""
        name, dot, end = self.script.rpartition(".")
        return name if dot and end == "py" and name in examples() else None


def examples() -> list[str]:
    """The names of the suite's examples, as they are installed."""
    folders = import_module("pyrovae.examples").__path__
    return sorted(module.name for module in pkgutil.iter_modules(folders) if not module.name.startswith("_"))


def record(run: Path) -> Record:
    """How a run was made, as its `summary.json` says.

    Args:
        run: the run folder.

    Raises:
        CheckpointError: the folder holds no such record, or a broken one; the message has the Python to write instead.
    """
    summary = run / "summary.json"
    content = read_json(summary) if summary.is_file() else {}
    made = content.get("command") if isinstance(content, dict) else None
    if not made:
        what = "a summary.json that names no script" if summary.is_file() else "no summary.json"
        raise CheckpointError(
            f"A full report requires the finished run of an example, got {str(run)!r} with {what}. Finish the run with "
            f"--resume, or write pyrovae.report.write_report(model, guide, data, run={str(run)!r}) in Python."
        )
    return _parsed(made)


def _parsed(made: Any) -> Record:
    made = made if isinstance(made, dict) else {}
    flags, above = made.get("flags"), made.get("above")
    if not isinstance(flags, list) or len(flags) > MOST or not all(map(_plain, [*flags, *map(made.get, TEXTS)])):
        raise _broken("plain texts for script, flags and folder")
    if above not in (".", ".."):
        raise _broken(f"the script's run folder to be this one or the one above, got {str(above)[:40]!r}")
    return Record(re.split(r"[\\/]", made["script"])[-1], tuple(flags), made["folder"], above == "..")


TEXTS = ("script", "folder")


def _plain(text: Any) -> bool:
    """Whether something is one line of text: no control characters, which a terminal would obey."""
    return isinstance(text, str) and len(text) <= LONGEST and text.isprintable()


def _broken(expected: str) -> CheckpointError:
    return CheckpointError(
        f"The record of the run in summary.json is broken: it requires {expected}. Restore a copy, or run the script "
        "yourself with --resume --report."
    )


def command(run: Path, flags: Sequence[str] = ()) -> list[str]:
    """The command line that writes the full report of an example's run: the example itself, on this run folder.

    Args:
        run: the run folder.
        flags: further flags for the example.

    Raises:
        CheckpointError: there is no record of the run, its script is none of the suite's examples, or the example does
            not take its flags; the message has the line to write instead.
    """
    made = record(run)
    if made.example is None:
        raise CheckpointError(
            f"This run was made by {made.script!r}, which is none of pyrovae's examples, so it is not run. Build the "
            f"pair, write pyrovae.inference.load_weights(model, guide, {str(run)!r}), and then "
            f"pyrovae.report.write_report(model, guide, data, run={str(run)!r})."
        )
    out = run.resolve().parent if made.below else run.resolve()
    # A run that replaced another one is to be read now, and not replaced again.
    kept = [flag for flag in made.flags if not (len(flag) > 3 and "--overwrite".startswith(flag))]
    line = [*kept, *flags, "--out", str(out), "--resume", "--report"]
    _check(made.example, line, out)
    # -P keeps the present folder, which may be the run folder, out of the places that Python imports from.
    return [sys.executable, "-P", "-m", f"pyrovae.examples.{made.example}", *line]


def _check(example: str, line: list[str], out: Path) -> None:
    """Let the example's own parser read a command line: flags of a folder must not redirect it to another folder."""
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(said):
            flags = import_module(f"pyrovae.examples.{example}").arguments(line)
    except (SystemExit, PyrovaeError) as error:
        why = said.getvalue().strip().rpartition("\n")[2] or str(error)
        raise CheckpointError(
            f"The example {example} does not take the flags that summary.json records: {why[:300]}. Run it yourself: "
            f"python -m pyrovae.examples.{example} --out {str(out)!r} --resume --report, and the flags of the run."
        ) from error
    if flags.out.resolve() != out or not flags.resume:
        raise _broken(f"flags that leave the run folder {str(out)!r} alone, got {line[:-4]}"[:500])
