"""What stands above a page: which data, which day, which command."""

from datetime import datetime
from typing import Any

from pyrovae.report.files import RunFiles

__all__ = ["heading"]

NAME, LINE = 60, 1000
"""The most characters of the name of the data, and of a command line."""


def heading(what: str, lead: str, files: RunFiles) -> dict[str, Any]:
    """The entries `title`, `lead` and `command` of a page's content.

    Args:
        what: what the page is about, such as the names of model and guide.
        lead: one or two sentences.
        files: the files of the run, whose summary may name the data and the command; whoever made the folder wrote it.
    """
    data = _text(files.summary.get("data")).partition(":")[0][:NAME]
    today = datetime.now().astimezone()
    title = f"{what}{f' of {data}' if data else ''}, {today.day} {today:%B %Y}"
    return {"title": title, "lead": lead, "command": _text(files.summary.get("command"))[:LINE]}


def _text(value: Any) -> str:
    """An entry that is one line of text; empty for any other."""
    return value if isinstance(value, str) and value.isprintable() else ""
