"""Lines and dots: training curves, series with errors, rows of numbers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyrovae.checks import check_number
from pyrovae.errors import DataError
from pyrovae.plots.figure import PALETTE, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves", "dots", "lines"]


def curves(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """Training curves: the objective with the validation ELBO, and rate and distortion on the validation data.

    Args:
        rows: the rows of a `History`, one for each epoch.

    Raises:
        DataError: other rows.
    """
    if any(not isinstance(row, Mapping) or not {"epoch", "loss"} <= row.keys() for row in _listed(rows)):
        raise DataError("curves requires the rows of a History, each with epoch and loss. Write curves(history.rows).")
    epochs = [check_number("epoch", row["epoch"]) for row in rows]
    validated = bool(rows) and "elbo" in rows[0]
    figure = new_figure(9 if validated else 5, 3.2)
    panels = figure.subplots(1, 3 if validated else 1, squeeze=False)[0]
    _curve(panels[0], epochs, {"training": [row["loss"] for row in rows]}, "loss")
    if any(abs(row.get("train_elbo", -row["loss"]) + row["loss"]) > 1e-4 * abs(row["loss"]) for row in rows):
        _curve(panels[0], epochs, {"training, -ELBO": [-row["train_elbo"] for row in rows]}, "loss")
        panels[0].legend(frameon=False)
    if validated:
        _curve(panels[0], epochs, {"validation, -ELBO": [-row["elbo"] for row in rows]}, "loss")
        _curve(panels[1], epochs, {"rate": [row["rate"] for row in rows]}, "rate, KL(q(z|x) ‖ p(z))")
        _curve(panels[2], epochs, {"distortion": [row["distortion"] for row in rows]}, "distortion, -E log p(x|z)")
        panels[0].legend(frameon=False)
    return figure


def _listed(rows: Any) -> Sequence[Any]:
    return rows if isinstance(rows, list | tuple) else [rows]


def _curve(axes: "Axes", epochs: Sequence[float], series: Mapping[str, Sequence[float]], title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    style: dict[str, Any] = {"marker": "o" if len(epochs) <= 60 else "", "markersize": 2.5, "linewidth": 1.2}
    for name, values in series.items():
        axes.plot(epochs, values, label=name, color=PALETTE[len(axes.lines)], **style)
    axes.set_xlabel("epoch")
    axes.set_ylabel("nats per data point")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    plain(axes, title)


def lines(series: Mapping[str, Sequence[Sequence[float]]], *, x: str, y: str, title: str = "") -> "Figure":
    """A line for each series.

    Args:
        series: by name, the x and the y of its points, and perhaps the standard errors of y.
        x: what to write at the horizontal axis, with the unit.
        y: what to write at the vertical axis, with the unit.
        title: what to write above them.
    """
    figure = new_figure(6.2, 4.2)
    axes = figure.subplots()
    style: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.4, "capsize": 2.5}
    for colour, (name, (across, up, *error)) in zip(PALETTE, series.items(), strict=False):
        axes.errorbar(across, up, yerr=error[0] if error else None, label=name, color=colour, **style)
    axes.set(xlabel=x, ylabel=y)
    plain(axes, title)
    axes.legend(frameon=False)
    return figure


def dots(series: Mapping[str, Sequence[float]], names: Sequence[str], *, x: str, title: str = "") -> "Figure":
    """A row for each name, and on it a dot for each series.

    Args:
        series: by name, a number for each row.
        names: the names of the rows.
        x: what to write at the axis, with the unit.
        title: what to write above them.
    """
    figure = new_figure(6.4, 1.0 + 0.2 * len(names))
    axes = figure.subplots()
    rows = range(len(names))
    for i, (name, values) in enumerate(series.items()):
        axes.plot(values, rows, "osD^vP"[i % 6], label=name, color=PALETTE[i % len(PALETTE)], markersize=5, alpha=0.85)
    axes.set_yticks(rows, names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(x)
    plain(axes, title)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure
