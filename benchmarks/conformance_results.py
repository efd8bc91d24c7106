"""The results of `conformance.py`: a JSON-lines file to which each process appends; the last line of a test counts."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Results", "Row", "passed"]

Json = dict[str, Any]
ALL_DIGITS = 16


def passed(result: Json | None) -> bool:
    """Whether a test passes; an expected failure does.

    Args:
        result: its line; None if it was not run.
    """
    return result is not None and result["outcome"] in ("passed", "xfailed", "xpassed", "stopped")


@dataclass(frozen=True)
class Row:
    """A test or an example, with both SVIs.

    Attributes:
        name: its pytest id, or the command line of the example.
        pyro: the result with Pyro's SVI.
        ours: that with ours; None where it was not run.
    """

    name: str
    pyro: Json
    ours: Json | None

    @property
    def file(self) -> str:
        """The file of a test."""
        return self.name.split("::")[0]

    @property
    def regressed(self) -> bool:
        """Whether the test passes with Pyro's SVI only."""
        return passed(self.pyro) and self.ours is not None and not passed(self.ours)

    @property
    def compiled(self) -> bool:
        """Whether a step was captured with ours, and replays were right."""
        return self.ours is not None and self.ours.get("graphs", 0) > 0 and not self._mistaken

    @property
    def _mistaken(self) -> bool:
        return any("Pyro's result was taken" in reason for reason in (self.ours or {}).get("eager", []))

    @property
    def eager(self) -> bool:
        """Whether ours ran eagerly, and said why."""
        return self.ours is not None and not self.compiled and bool(self.ours.get("eager"))

    @property
    def digits(self) -> int | None:
        """How many digits of the first losses agree, at least; None where there is nothing to compare."""
        theirs, ours = self.pyro.get("losses", []), (self.ours or {}).get("losses", [])
        pairs = [(a, b) for x, y in zip(theirs, ours, strict=False) for a, b in zip(x, y, strict=False)]
        return min((_digits(a, b) for a, b in pairs), default=None)

    @property
    def ratio(self) -> float | None:
        """The time of a later step, ours over Pyro's; None where graphs were replayed operation by operation."""
        if self.ours is None or not self.ours.get("compile"):
            return None
        theirs, ours = self.pyro.get("step_ms"), self.ours.get("step_ms")
        return ours / theirs if theirs and ours else None


def _digits(a: float, b: float) -> int:
    if a == b or (math.isnan(a) and math.isnan(b)):
        return ALL_DIGITS
    gap = abs(a - b) / max(abs(a), abs(b))
    return min(ALL_DIGITS, max(0, math.floor(-math.log10(gap)))) if math.isfinite(gap) else 0


@dataclass(frozen=True)
class Results:
    """What is known so far.

    Args:
        path: the JSON-lines file; it need not exist.
    """

    path: Path

    def lines(self, offset: int = 0) -> Iterator[Json]:
        """The lines of the file.

        Args:
            offset: how many bytes to leave out.
        """
        if self.path.exists():
            with self.path.open() as file:
                file.seek(offset)
                for line in file:
                    if line.endswith("\n"):
                        yield json.loads(line)

    def size(self) -> int:
        """How many bytes the file has."""
        return self.path.stat().st_size if self.path.exists() else 0

    def write(self, **line: Any) -> None:
        """Append a line.

        Args:
            line: what it holds.
        """
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def of(self, kind: str, svi: str) -> dict[str, Json]:
        """The last result of each name.

        Args:
            kind: `"test"`, `"example"` or `"file"`.
            svi: `"pyro"` or `"ours"`.
        """
        chosen = (x for x in self.lines() if x["event"] == "result" and x["kind"] == kind and x["svi"] == svi)
        return {line["id"]: line for line in chosen}

    def rows(self, kind: str) -> list[Row]:
        """Those that step an SVI with Pyro's, in the order in which they ran.

        Args:
            kind: `"test"` or `"example"`.
        """
        ours = self.of(kind, "ours")
        return [Row(name, line, ours.get(name)) for name, line in self.of(kind, "pyro").items() if line.get("steps")]
