"""The closing table, `summary.json`, `comparison.json` and the report."""

import argparse
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pyrovae.data import Standardize
from pyrovae.errors import PairError
from pyrovae.examples._shared.scoring import refine, scored
from pyrovae.examples._shared.training import Trained
from pyrovae.inference import Estimate, Evaluation, EvidenceEstimate, InferenceGaps
from pyrovae.models.likelihoods.bernoulli import is_relaxed
from pyrovae.output import write_text
from pyrovae.report import write_report
from pyrovae.version import __version__

__all__ = ["Row", "plain", "write_comparison", "write_summary"]


RELAXED = (
    "! A Bernoulli's formula on grey levels is a cross-entropy and no density: these numbers bound no log p(x).\n"
    "  Compare them with runs of the same likelihood alone."
)


class Row(NamedTuple):
    """A row of the closing table.

    Args:
        name: what it is.
        value: the number, as printed.
        unit: its unit, or how it is computed.
    """

    name: str
    value: str
    unit: str

    @classmethod
    def of(cls, name: str, estimate: Estimate, unit: str) -> "Row":
        """The row of an estimate; where it rests on importance sampling, with its bias, interval and k-hat.

        Args:
            name: what it is.
            estimate: the number.
            unit: its unit, or how it is computed.
        """
        return cls(name, str(Estimate(*estimate)), "; ".join(filter(None, (unit, estimate.remarks))))


def write_summary(
    trained: Trained,
    measured: Evaluation,
    flags: argparse.Namespace,
    *,
    rows: Sequence[tuple[str, str, str]] = (),
    bits: bool = False,
    hide: Sequence[str] = (),
    entries: Mapping[str, Any] | None = None,
) -> None:
    """Print the closing table, and write `summary.json` and, with `--report`, the report into `flags.out`.

    Args:
        trained: the trained pair.
        measured: what `score` found.
        flags: the flags of the script; with `--refine` the guide is refined here.
        rows: further rows.
        bits: whether to print the evidence in bits per number too, for data that have a probability.
        hide: names of rows that mean nothing for this pair.
        entries: further entries of `summary.json`.
    """
    refined = refine(trained, flags)
    print(f"\ntest    {len(measured.per_datum['elbo'])} data points")
    hidden = {*hide, *(["k-hat > 0.7"] if "log-evidence" in hide else [])}
    for name, value, unit in _table(trained, measured, refined, rows, bits):
        if name not in hidden:
            print(f"  {name:<13}{value:>20}   {unit}")
    content = _content(trained, measured, flags, refined) | dict(entries or {})
    if is_relaxed(trained.model):
        print(RELAXED)
    write_text(flags.out / "summary.json", json.dumps(plain(content), indent=2))
    if flags.report:
        _report(trained, measured, flags)


def write_comparison(out: Path, results: Mapping[str, Any]) -> None:
    """Write `comparison.json`, which holds the results of several runs of a script.

    Args:
        out: the run folder of the script.
        results: what to write, by name.
    """
    write_text(out / "comparison.json", json.dumps(plain(results), indent=1))


def plain(value: Any) -> Any:
    """A value as JSON holds it: numbers stay numbers, NaN and infinities become null, and paths become text.

    An estimate is its value and error; one that rests on importance sampling also has bias, interval and flag.

    Args:
        value: a number, a text, an estimate, or a mapping or sequence of such.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Estimate):
        return {name: plain(part) for name, part in _entry(value).items()}
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if hasattr(value, "item"):  # a number of NumPy or torch
        return plain(value.item())
    return [plain(part) for part in value] if isinstance(value, list | tuple) else str(value)


def _table(
    trained: Trained,
    measured: Evaluation,
    refined: InferenceGaps | PairError | None,
    rows: Sequence[tuple[str, str, str]],
    bits: bool,
) -> list[tuple[str, str, str]]:
    """The closing table, with the rows of the example."""
    levels = measured.rates if len(measured.rates) > 1 else {}
    dims = measured.dims if bits else None
    sampled = f"importance sampling, {measured.num_samples} draws per data point"
    return [
        Row("ELBO", str(measured.elbo), _unit(trained)),
        Row("rate", str(measured.rate), "KL(q(z|x) || p(z))"),
        *(Row(f"rate of {name}", str(rate), "its part of the rate") for name, rate in levels.items()),
        Row("distortion", str(measured.distortion), "-E log p(x|z)"),
        *_evidence(measured.log_evidence, sampled, dims),
        *_tails(measured),
        *_refined(refined, dims),
        *rows,
        Row("time", f"{trained.seconds:.1f} s", f"training, {len(trained.history.rows)} epochs on {trained.device}"),
    ]


def _unit(trained: Trained) -> str:
    standardised = isinstance(trained.transform, Standardize)
    return "nats per data point" + (", a density in the units of the table" if standardised else "")


def _evidence(evidence: Estimate, how: str, dims: float | None) -> list[Row]:
    """The rows of a log-evidence, and of its bits per number where a data point has `dims` numbers."""
    rows = [Row("log-evidence", str(Estimate(*evidence)), how)]
    rows += [Row(*note) for note in getattr(evidence, "notes", [])]
    if dims:
        bits = Estimate(*evidence.bits_per_dim(dims))
        rows.append(Row("bits/dim", str(bits), f"-log-evidence / ({dims} log 2)"))
    return rows


def _tails(measured: Evaluation) -> list[Row]:
    """The row that says for how much of the data the log-evidence cannot be trusted; none where k-hat is unknown."""
    if math.isnan(measured.unreliable):
        return []
    return [Row("k-hat > 0.7", f"{100 * measured.unreliable:.0f} %", "of the data: their log-evidence is too low")]


def _refined(refined: InferenceGaps | PairError | None, dims: float | None) -> list[Row]:
    """The rows of the refined guide, or of the reason why there is none."""
    if refined is None:
        return []
    if isinstance(refined, PairError):
        return [Row("refined", "-", str(refined))]
    trust = f"; {refined.log_evidence.trust}" if refined.log_evidence.trust else ""
    sampled = f"importance sampling, {refined.num_samples} draws of that guide{trust}"
    return [
        Row("refined ELBO", str(refined.refined), "the guide refined for each data point"),
        *_evidence(refined.log_evidence, sampled, dims),
        Row("approximation", str(refined.approximation), "log-evidence - refined ELBO"),
        Row("amortisation", str(refined.amortisation), "refined ELBO - ELBO"),
    ]


def _content(
    trained: Trained, measured: Evaluation, flags: argparse.Namespace, refined: InferenceGaps | PairError | None
) -> dict[str, Any]:
    """The entries of `summary.json` that every example has."""
    estimates = {name: getattr(measured, name) for name in ("elbo", "rate", "distortion", "log_evidence")}
    return {
        "data": trained.data.describe(),
        "transform": repr(trained.transform),
        "log_jacobian": trained.log_jacobian,
        "bounds_log_evidence": not is_relaxed(trained.model),
        "test_data": len(measured.per_datum["elbo"]),
        **estimates,
        "rates": measured.rates,
        "num_samples": measured.num_samples,
        "bits_per_dim": measured.bits_per_dim,
        "unreliable": measured.unreliable,
        "refined": _gap_entries(refined) if isinstance(refined, InferenceGaps) else {},
        "train_loss_per_epoch": trained.history["loss"],
        "epochs": len(trained.history.rows),
        "best_epoch": trained.history.best_epoch,
        "seconds": round(trained.seconds, 2),
        "arguments": {name: value for name, value in vars(flags).items() if name != "command"},
        "command": getattr(flags, "command", ""),
        "versions": {"pyrovae": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "device": str(trained.device)},
    }


def _entry(estimate: Estimate) -> dict[str, Any]:
    """An estimate as an entry; one by importance sampling has its bias, interval and k-hat beside it."""
    if not isinstance(estimate, EvidenceEstimate):
        return estimate._asdict()
    low, high = estimate.interval
    beside = {"bias": estimate.bias._asdict(), "interval": [low, high], "flagged": estimate.flagged}
    return estimate._asdict() | {"unreliable": estimate.unreliable} | beside


def _gap_entries(refined: InferenceGaps) -> dict[str, Any]:
    names = ("refined", "log_evidence", "approximation", "amortisation")
    return {name: getattr(refined, name) for name in names} | {"rise": refined.rise}


def _report(trained: Trained, measured: Evaluation, flags: argparse.Namespace) -> None:
    """Write `report.html`."""
    path = write_report(
        trained.model,
        trained.guide,
        scored(trained, flags),
        run=flags.out,
        transform=trained.transform,
        classes=trained.data.classes or (),
        measured=measured,
        seed=flags.seed,
    )
    print(f"report  {path}, {path.stat().st_size / 1e6:.1f} MB")
