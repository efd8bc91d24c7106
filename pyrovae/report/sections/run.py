"""The run: headline numbers, facts, training curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from pyrovae.inference import Evaluation
from pyrovae.report.reported import ReportedPair
from pyrovae.report.sections.section import Section, doubts

__all__ = ["curves", "overview"]

EPOCHS = 5000
"""Epochs that curves show at most; of a longer training they show evenly spaced ones, and the last."""


def overview(pair: ReportedPair, measured: Evaluation, facts: dict[str, Any]) -> Section:
    """The headline numbers and the facts of a run. A guide that is a point mass has the distortion alone.

    Args:
        pair: the pair.
        measured: the result of `evaluate`.
        facts: by name, short words, or longer ones that the page folds away.
    """
    how = f"log p(x), importance sampling, {measured.num_samples} draws per data point"
    notes = [f"{name} {number}" for name, number, _ in getattr(measured.log_evidence, "notes", [])]
    how = "; ".join(filter(None, (how, *notes, doubts(measured.unreliable))))
    tiles = [
        ("ELBO", measured.elbo, "what training maximises: −(rate + distortion)"),
        ("rate", measured.rate, "KL(q(z|x) ‖ p(z)), what a code says about its data point"),
        ("distortion", measured.distortion, "−E log p(x|z), what the code leaves open"),
        ("log-evidence", measured.log_evidence, how),
    ]
    known = ["distortion", *["ELBO", "rate"] * pair.judged, *["log-evidence"] * pair.density]
    shown = [tile for tile in tiles if tile[0] in known]
    return {"kind": "overview", "title": "The run", "tiles": shown, "facts": facts}


def curves(rows: Sequence[Mapping[str, float]]) -> Section | None:
    """Training curves: the loss, and ELBO, rate and distortion on the validation data. None without a history.

    Rate and distortion of some training data are drawn too where the history has them.

    Args:
        rows: the rows of a `History`, one for each epoch.
    """
    if not rows:
        return None
    every = -(-len(rows) // EPOCHS)
    rows = [row for place, row in enumerate(rows) if place % every == 0 or place == len(rows) - 1]
    loss = {"training loss": [row["loss"] for row in rows]}
    if any(abs(row.get("train_elbo", -row["loss"]) + row["loss"]) > 1e-4 * abs(row["loss"]) for row in rows):
        loss["training, −ELBO"] = [-row["train_elbo"] for row in rows]
    panels = [("loss", loss)]
    if "elbo" in rows[0]:
        loss["validation, −ELBO"] = [-row["elbo"] for row in rows]
        panels += [(name, _part(rows, name)) for name in ("rate", "distortion")]
    shown = [{"title": title, "series": [{"name": n, "values": v} for n, v in s.items()]} for title, s in panels]
    text = "Nats per data point at each epoch. To read values, point at a curve, or focus it and press the arrow keys."
    epochs = [int(row["epoch"]) for row in rows]
    return {"kind": "curves", "title": "Training", "text": text, "epochs": epochs, "panels": shown}


def _part(rows: Sequence[Mapping[str, float]], name: str) -> dict[str, list[float]]:
    """A part of the ELBO on the validation data, and on some training data where the rows have it."""
    columns = {f"training {name}, some data": f"train_{name}", f"validation {name}": name}
    return {title: [row[column] for row in rows] for title, column in columns.items() if column in rows[0]}
