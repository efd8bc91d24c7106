"""Data points: their reconstructions, samples of the prior, draws of the posterior."""

from typing import Any

import torch
from torch import Tensor

from pyrovae.inference.draws.draws import Draws
from pyrovae.inference.draws.posterior import posterior
from pyrovae.inference.pair.running import unchanged
from pyrovae.report.reported import ReportedPair
from pyrovae.report.sections.section import Section

__all__ = ["draws", "reconstructions", "samples"]

PAIRS = 20
"""Data points that are shown with their reconstructions."""

SAMPLES = 60
"""Images sampled from the prior; a fifth of them of data that are no images."""

ROWS, DRAWS = 6, 6
"""Data points in the section of posterior draws, and draws of each kind."""


def reconstructions(pair: ReportedPair) -> Section:
    """Each data point over the mean of p(x | z) at its code.

    Args:
        pair: the pair.
    """
    rows = list(range(min(PAIRS, len(pair.x))))
    return {
        "kind": "gallery",
        "title": "Data and reconstructions",
        "text": "Above, or first, the data point; below it the mean of p(x | z) at its code.",
        "album": pair.camera.album(torch.cat([pair.x[rows], pair.decoded(rows)]), budget=200_000),
        "names": ["data point", "reconstruction"],
        "items": [{"label": pair.name(i), "at": [i, len(rows) + i]} for i in rows],
    }


def samples(pair: ReportedPair) -> Section:
    """The mean of p(x | z) at draws z ~ p(z).

    Args:
        pair: the pair.
    """
    rows = [i % len(pair.x) for i in range(SAMPLES if pair.camera.images else SAMPLES // 5)]
    conditions = ", under the conditions of the data." if pair.given else "."
    return {
        "kind": "gallery",
        "title": "Samples of the prior",
        "text": "The mean of p(x | z), z drawn from the prior" + conditions,
        "album": pair.camera.album(pair.samples(rows), budget=200_000),
        "names": [],
        "items": [{"label": _condition(pair, row) or f"sample {i + 1}", "at": [i]} for i, row in enumerate(rows)],
        "captions": bool(pair.given),
    }


def _condition(pair: ReportedPair, row: int) -> str:
    """The condition of a data point in words, where it is a label."""
    return f"y = {pair.labels[row]}" if "y" in pair.given and pair.labels else ""


def draws(pair: ReportedPair) -> Section:
    """Some data points, and p(x | z) at draws z ~ q(z | x) and at draws that are corrected by their weights.

    Args:
        pair: the pair; its guide has a density.
    """
    rows = pair.chosen(ROWS)
    shown = [("data point", pair.x[rows]), ("mean of q", pair.decoded(rows))]
    plain, chosen = (_drawn(pair, rows, corrected=corrected) for corrected in (False, True))
    shown += _decoded_draws(pair, rows, plain) + _decoded_draws(pair, rows, chosen)
    worth = [""] * len(rows) if chosen.effective_sample_size is None else map(_worth, chosen.effective_sample_size)
    text = "The mean of p(x | z) at draws z ~ q(z | x) shows how much the codes of one data point differ. Corrected "
    text += f"draws are chosen among {10 * DRAWS} of the guide by their weights, so they are nearer to p(z | x)."
    groups: list[tuple[str, int, int]] = [("data point", 0, 1), ("mean of q", 1, 1)]
    groups += [("draws of q", 2, DRAWS), ("corrected draws", 2 + DRAWS, DRAWS)]
    stop, step = len(rows) * len(shown), len(rows)
    return {
        "kind": "gallery",
        "title": "Posterior draws",
        "text": text,
        "album": pair.camera.album(torch.cat([x for _, x in shown]), budget=300_000),
        "names": [name for name, _ in shown],
        "groups": groups,
        "items": [
            {"label": pair.name(row), "note": words, "at": list(range(i, stop, step))}
            for i, (row, words) in enumerate(zip(rows, worth, strict=True))
        ],
    }


def _worth(effective: Tensor) -> str:
    """What the weights of a data point are worth, in words."""
    words = f"The {10 * DRAWS} draws of the guide are worth {effective.item():.1f} exact ones"
    return words + (": too few to tell what p(z | x) looks like." if effective < DRAWS else ".")


def _drawn(pair: ReportedPair, rows: list[int], *, corrected: bool) -> Draws:
    """Draws of q(z | x), or draws that are chosen by their weights."""
    batch: dict[str, Any] = {name: tensor[rows] for name, tensor in pair.batch.items()}
    return posterior(
        pair.model,
        pair.guide,
        batch,
        DRAWS,
        transform=unchanged,
        corrected=corrected,
        log_weights=corrected,
        seed=pair.seed,
    )


def _decoded_draws(pair: ReportedPair, rows: list[int], drawn: Draws) -> list[tuple[str, Tensor]]:
    """The names of the draws, and p(x | z)'s means there."""
    z = drawn.latents
    codes = [{name: z[name][i].to(pair.x.device) for name in pair.codes} for i in range(DRAWS)]
    kind = "corrected" if drawn.corrected else "draw"
    return [(f"{kind} {i + 1}", pair.decoded(rows, code)) for i, code in enumerate(codes)]
