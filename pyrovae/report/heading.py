"""What stands above a page: which data, which day, which command."""

import shlex
from datetime import datetime
from typing import Any

from pyrovae.errors import CheckpointError
from pyrovae.report.files import RunFiles
from pyrovae.report.rerun import record

__all__ = ["heading"]

NAME = 60
"""The most characters of the name of the data."""


def heading(what: str, lead: str, files: RunFiles) -> dict[str, Any]:
    """The entries `title`, `lead` and `command` of a page's content.

    Args:
        what: what the page is about, such as the names of model and guide.
        lead: one or two sentences.
        files: the files of the run, which may name the data and the command.
    """
    described = files.summary.get("data")
    data = described.partition(":")[0][:NAME] if isinstance(described, str) else ""
    today = datetime.now().astimezone()
    title = f"{what}{f' of {data}' if data else ''}, {today.day} {today:%B %Y}"
    return {"title": title, "lead": lead, "command": _command(files)}


def _command(files: RunFiles) -> str:
    """The command line that made the run; empty where the folder records none."""
    try:
        made = record(files.folder)
    except CheckpointError:
        return ""
    start = ["pyrovae", made.example] if made.example else ["python", made.script]
    return shlex.join([*start, *made.flags])
