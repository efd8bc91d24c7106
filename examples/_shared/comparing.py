"""Pictures of a script that compares several runs."""

from collections.abc import Mapping
from pathlib import Path

from pyrovae import plots
from pyrovae.examples._shared.pictures import save_picture
from pyrovae.inference import History

__all__ = ["write_comparison_pictures"]


def write_comparison_pictures(
    out: Path, bounds: Mapping[str, Mapping[str, float]], histories: Mapping[str, History]
) -> None:
    """Write `comparison.png`, a row of numbers for each run, and `validation.png`, the validation ELBO of each epoch.

    Args:
        out: the run folder of the script.
        bounds: by the name of a number, such as "ELBO", and then by that of the run, in nats per data point.
        histories: the history of each run; there is no second picture where one has no validation data.
    """
    names = list(histories)
    series = {bound: [values[name] for name in names] for bound, values in bounds.items()}
    save_picture(plots.dots(series, names, x="nats per test data point; higher is better"), out, "comparison")
    if all(history.rows and "elbo" in history.rows[0] for history in histories.values()):
        curves = {name: (history["epoch"], history["elbo"]) for name, history in histories.items()}
        figure = plots.lines(curves, x="epoch", y="nats per data point", title="ELBO of the validation data")
        save_picture(figure, out, "validation")
