"""The run folder of a script: the one that was named, or one of the numbered ones beside the default."""

import argparse
import re
from pathlib import Path

from pyrovae.errors import CheckpointError
from pyrovae.examples._shared.flags import DefaultFolder
from pyrovae.inference.training.run_folder import RunFolder

__all__ = ["run_folder"]

PATTERNS = ("checkpoint*.pt", "metrics.*")
"""What a training writes at its start and after each epoch; their time tells which run is the newest."""


def run_folder(flags: argparse.Namespace) -> Path:
    """The run folder that the flags ask for; a line says which one that is, where it is not the obvious one.

    Without `--out`, `--resume` and `--overwrite` take the newest run of the example, and a new run takes the first of
    runs/NAME, runs/NAME-2, ... that is free.

    Args:
        flags: the flags of the script.

    Raises:
        CheckpointError: there is no run to resume.
        OutputError: the folder that was named holds a run, which is neither resumed nor replaced.
    """
    out, why = _chosen(flags) if isinstance(flags.out, DefaultFolder) else (flags.out, "")
    if not flags.resume:
        RunFolder(out, overwrite=flags.overwrite).check()
    elif not any(out.rglob("checkpoint*.pt")):
        raise CheckpointError(f"--resume requires a run in {str(out)!r}, got none. Check --out, or leave --resume out.")
    if flags.overwrite and _written(out):
        why = "which is replaced"
    if why:
        print(f"run     {out}, {why}")
    return Path(out)


def _chosen(flags: argparse.Namespace) -> tuple[Path, str]:
    """The default folder, or the same name with a number, and why it is that one."""
    if flags.resume or flags.overwrite:
        newest = max(_numbered(flags.out), key=_written, default=flags.out)
        if _written(newest):
            return newest, "which is the newest run"
    free, count = flags.out, 1
    while free.is_dir() and any(free.iterdir()):
        free, count = flags.out.with_name(f"{flags.out.name}-{count + 1}"), count + 1
    taken = flags.out if count == 2 else flags.out.with_name(f"{flags.out.name}-{count - 1}")
    return (free, f"because {taken} is taken") if count > 1 else (free, "")


def _numbered(default: Path) -> list[Path]:
    """The default folder and those with a number that exist, the lowest number first."""
    named = re.compile(re.escape(default.name) + r"(?:-(\d+))?")
    found = [(match, path) for path in default.parent.glob("*") if (match := named.fullmatch(path.name))]
    return [path for match, path in sorted(found, key=lambda one: int(one[0][1] or 1)) if path.is_dir()]


def _written(folder: Path) -> int:
    """When a run, or one of the runs below a folder, was last written, in nanoseconds; 0 where there is none."""
    files = (file for pattern in PATTERNS for file in folder.rglob(pattern))
    return max((file.stat().st_mtime_ns for file in files), default=0)
