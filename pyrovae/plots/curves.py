"""Lines and dots: training curves, series with errors, rows of numbers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pyrovae.checks import check_count, check_number, check_tensor
from pyrovae.errors import DataError
from pyrovae.plots.figure import PALETTE, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves", "dots", "lines", "step_losses"]


def curves(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """Training curves: the objective with the validation ELBO, and rate and distortion on the validation data.

    Rate and distortion of some training data are drawn too where the rows have them.

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
        _part(panels[1], epochs, rows, "rate", "rate, KL(q(z|x) ‖ p(z))")
        _part(panels[2], epochs, rows, "distortion", "distortion, -E log p(x|z)")
        panels[0].legend(frameon=False)
    return figure


def _part(axes: "Axes", epochs: Sequence[float], rows: Sequence[Mapping[str, Any]], name: str, title: str) -> None:
    """A part of the ELBO on the validation data, and on training data where the rows have it."""
    both = bool(rows) and all(f"train_{name}" in row for row in rows)
    series = {"some training data": [row[f"train_{name}"] for row in rows]} if both else {}
    _curve(axes, epochs, series | {"validation": [row[name] for row in rows]}, title)
    if both:
        axes.legend(frameon=False)


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


def step_losses(losses: Tensor, *, window: int = 50) -> "Figure":
    """The loss of each training step, as `History.step_losses` holds it, and its moving average.

    Args:
        losses: `(steps,)`.
        window: how many steps the moving average takes; fewer where there are not as many.

    Raises:
        ShapeError: they are no vector.
        SettingError: a window below 1.
    """
    losses = check_tensor("losses", losses, "(steps,)", dims=1).detach().cpu().double()
    window = min(check_count("window", window), max(1, len(losses)))
    figure = new_figure(6.2, 3.6)
    axes = figure.subplots()
    axes.plot(range(1, len(losses) + 1), losses.numpy(), color=PALETTE[5], linewidth=0.6, label="each step")
    averages = losses.unfold(0, window, 1).mean(1).numpy() if len(losses) else losses.numpy()
    steps = range(window, len(losses) + 1) if len(losses) else range(0)
    axes.plot(steps, averages, color=PALETTE[0], linewidth=1.4, label=f"mean of {window} steps")
    axes.set(xlabel="training step", ylabel="nats per data point")
    plain(axes, "loss of each step")
    axes.legend(frameon=False)
    return figure


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
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(x)
    plain(axes, title)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure
