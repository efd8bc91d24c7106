"""The figure that every function of `pyrovae.plots` returns."""

import io

from matplotlib.figure import Figure

__all__ = ["Picture"]


class Picture(Figure):
    """A figure that belongs to no window: it closes itself, and a notebook shows it once, where it is the result.

    matplotlib's own figures are shown by `%matplotlib inline` alone, and then twice where a call both registers and
    returns one.
    """

    def _repr_png_(self) -> bytes:
        """The figure as PNG, for notebooks."""
        file = io.BytesIO()
        self.draw_without_rendering()  # axes of a fixed aspect are in their place after the second layout
        self.savefig(file, dpi=100, format="png")
        return file.getvalue()
