"""The index of the examples, read from their docstrings; nothing of an example is imported or run.

An example's docstring starts with one sentence on what it shows. Command lines with their comments follow, and it ends
with a line such as `Data: 5,000 real digits, offline. Time: 30 s of one core.`
"""

import ast
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

__all__ = ["Example", "example_names", "examples"]

CLOSING = re.compile(r"^Data: (?P<data>.+?)\.(?: Time: (?P<time>.+?)\.)?$", re.MULTILINE)
"""The line of a docstring that names the data and, where it was measured, the time."""

COMMAND = re.compile(r"^python examples/\w+\.py(?P<flags>.*?)(?:  +(?P<comment>\S.*))?$")
"""A command line of a docstring, once its continuation lines are joined."""


@dataclass(frozen=True)
class Example:
    """What an example's docstring says.

    Attributes:
        name: its name: `pyrovae NAME` runs it, as does `python examples/NAME.py` in a clone.
        shows: what it shows, one sentence.
        commands: pairs of flags and a comment on what they do; the first has no flags.
        data: its data without flags.
        offline: whether these data come with an installed package, so that nothing is downloaded.
        time: about how long it takes one core without flags, such as `2 min of one core`; empty if not measured.
        path: its source.
    """

    name: str
    shows: str
    commands: tuple[tuple[str, str], ...]
    data: str
    offline: bool
    time: str
    path: Path


def example_names() -> list[str]:
    """The names of the installed examples, in alphabetical order."""
    return sorted(path.stem for path in _folder().glob("*.py") if not path.name.startswith("_"))


def examples() -> list[Example]:
    """All installed examples, in alphabetical order."""
    return [_example(_folder() / f"{name}.py") for name in example_names()]


def _folder() -> Path:
    spec = find_spec("pyrovae.examples")
    return Path(spec.origin).parent if spec and spec.origin else Path()


def _example(path: Path) -> Example:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    closing = CLOSING.search(text)
    data, time = (closing["data"], closing["time"] or "") if closing else ("", "")
    lines = re.sub(r" *\\\n +", " ", text).splitlines()
    found = (COMMAND.match(line) for line in lines)
    commands = tuple((line["flags"].strip(), line["comment"] or "") for line in found if line)
    source, comma, where = data.rpartition(", ")
    offline = comma != "" and where == "offline"
    return Example(path.stem, lines[0] if lines else "", commands, source if offline else data, offline, time, path)
