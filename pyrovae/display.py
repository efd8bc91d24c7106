"""How results show themselves: one table of cells, as text in a console and as HTML in a notebook."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

__all__ = ["Cells", "Shown", "shortened"]

MOST = 20


class Cells(NamedTuple):
    """A table, all of its cells text.

    Attributes:
        rows: the rows.
        head: the names of the columns; empty for a list of names and values.
        before, after: lines above and below the table.
        words: the numbers of the columns that hold words, which are flush left; numbers are flush right.
    """

    rows: Sequence[Sequence[str]]
    head: Sequence[str] = ()
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    words: Sequence[int] = (0,)

    def text(self) -> str:
        """The table as lines of text."""
        lines = [row for row in (self.head, *self.rows) if row]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

        def line(row: Sequence[str]) -> str:
            sides = ("<" if i in self.words else ">" for i in range(len(row)))
            return "  ".join(f"{c:{side}{w}}" for c, side, w in zip(row, sides, widths, strict=True)).rstrip()

        return "\n".join([*self.before, *map(line, lines), *self.after])

    def html(self) -> str:
        """The table as HTML, every character escaped."""
        parts = [f"<p>{escape(line)}</p>" for line in self.before]
        if self.head or self.rows:
            head = f"<thead>{self._row(self.head, 'th')}</thead>" if self.head else ""
            body = "".join(self._row(row, "td") for row in self.rows)
            parts.append(f"<table>{head}<tbody>{body}</tbody></table>")
        return f"<div>{''.join(parts)}{''.join(f'<p>{escape(line)}</p>' for line in self.after)}</div>"

    def _row(self, row: Sequence[str], tag: str) -> str:
        styles = ("left" if i in self.words else "right; white-space: nowrap" for i in range(len(row)))
        cells = (f'<{tag} style="text-align: {s}">{escape(c)}</{tag}>' for c, s in zip(row, styles, strict=True))
        return f"<tr>{''.join(cells)}</tr>"


class Shown(ABC):
    """A result that shows itself as a table: printed, at the prompt of a console, and in a notebook."""

    @abstractmethod
    def cells(self) -> Cells:
        """The table of this result."""

    def __str__(self) -> str:
        return self.cells().text()

    def __repr__(self) -> str:
        return self.cells().text()

    def _repr_html_(self) -> str:
        return self.cells().html()


def shortened(rows: Sequence[Sequence[str]]) -> tuple[Sequence[Sequence[str]], list[str]]:
    """At most 20 rows, and a line with the number of the rows that are left out, or none.

    Args:
        rows: the rows of a table without its head.
    """
    return rows[:MOST], ([f"and {len(rows) - MOST} more"] if len(rows) > MOST else [])
