"""How results show themselves: one table of cells, as text in a console and as HTML in a notebook."""

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

__all__ = ["Cells", "Shown", "mean_and_error", "plus_minus", "rounded", "shortened"]

MOST = 20

FINEST = 6
"""Decimals that are printed at most."""

PLAIN = 2
"""Decimals of a number whose error is unknown or zero."""


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


def plus_minus(value: float, error: float) -> str:
    """A value and its error, such as "-88.9183 ± 0.0042": two digits of the error, and the value to the same decimal.

    An error below 0.0000005 prints as "< 0.000001", one that is exactly zero as "0", one that is unknown as "-".

    Args:
        value: the estimate; NaN prints as "-".
        error: its standard error, or another spread; NaN where it is unknown.
    """
    if math.isnan(value) or not math.isfinite(error):
        return f"{rounded(value, error)} ± -"
    if error == 0:
        return f"{rounded(value, error)} ± 0"
    shown = f"{error:.{_decimals(error)}f}"
    return f"{rounded(value, error)} ± {shown if float(shown) else f'< {10**-FINEST:.{FINEST}f}'}"


def mean_and_error(values: Iterable[float]) -> str:
    """The mean of some values and its standard error, as `plus_minus`; one value stands alone, with three decimals.

    Args:
        values: at least one.
    """
    found = [float(value) for value in values]
    if len(found) == 1:
        return f"{found[0]:.3f}"
    return plus_minus(statistics.fmean(found), statistics.stdev(found) / math.sqrt(len(found)))


def rounded(value: float, error: float) -> str:
    """A value with as many decimals as its error has digits that count; two where the error says nothing.

    Args:
        value: a number; NaN prints as "-".
        error: its standard error.
    """
    return "-" if math.isnan(value) else f"{value:.{_decimals(error)}f}"


def _decimals(error: float) -> int:
    """The decimals of two significant digits."""
    if not math.isfinite(error) or error == 0:
        return PLAIN
    exponent = int(f"{abs(error):.1e}".split("e")[1])  # after rounding: 0.0996 counts as 0.10
    return min(max(1 - exponent, 0), FINEST)
