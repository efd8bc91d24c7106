"""Facts of a run, in words, from what its folder holds."""

from collections.abc import Mapping
from typing import Any

from pyrovae.inference.training.history import History
from pyrovae.report.files import HUGE, LONGEST, RunFiles
from pyrovae.report.sections import Section

__all__ = ["broken_files", "estimate", "number", "run_facts", "training_facts"]

MANY = 100
"""How many entries of a list are shown."""

Facts = dict[str, Any]
"""By name: short words, longer ones that the page folds away, or words by name."""


VERSIONED = ("pyrovae", "torch", "pyro", "numpy", "python")

NO_SETTINGS = ("data", "validation data", "transform", "model", "guide", "loss", *VERSIONED)
"""Entries of `config.json` that are no settings, or have a line of their own."""


def run_facts(files: RunFiles) -> Facts:
    """What `summary.json` says about a run, or `config.json` without one; what is no plain value is left out.

    Args:
        files: the files of the run.
    """
    return _of_summary(files) if files.summary else _of_config(files)


def training_facts(history: History) -> Facts:
    """What the history of a training says about it.

    Args:
        history: of a run.
    """
    facts: Facts = {"epochs": str(len(history.rows)), "training time": f"{history.seconds:.0f} s"}
    return facts | ({"best epoch": str(history.best_epoch)} if history.best_epoch else {})


def _of_config(files: RunFiles) -> Facts:
    """The facts of a run that `fit` wrote, of no example."""
    config = files.config
    sets = {"training": config.get("data"), "validation": config.get("validation data")}
    data = [f"{_words(value).partition(';')[0]} for {name}" for name, value in sets.items() if _words(value)]
    transform, loss = (_words(config.get(name)).rpartition(".")[2] for name in ("transform", "loss"))
    facts: Facts = {"data": ", ".join(data), "transform": transform, "loss": loss}
    facts["epochs"] = str(len(files.metrics) or "")
    facts["settings"] = {
        _words(name): words
        for name, value in config.items()
        if name not in NO_SETTINGS and "." not in name and (words := _words(value)) and words != "None"
    }
    return {name: value for name, value in facts.items() if value}


def _of_summary(files: RunFiles) -> Facts:
    """The facts of a run of an example."""
    summary = files.summary
    named = {"data": "data", "transform": "transform", "epochs": "epochs", "best epoch": "best_epoch"}
    facts: Facts = {name: _words(summary.get(key)) for name, key in named.items()}
    facts["training time"] = _time(files)
    if summary.get("bounds_log_evidence") is False:
        facts["evidence"] = "the likelihood is a cross-entropy of grey levels, so these numbers bound no log p(x)"
    facts["settings"] = {
        _words(name): words
        for name, value in _object(summary, "arguments").items()
        if (words := _words(value)) and words != "None"
    }
    return {name: value for name, value in facts.items() if value}


def _time(files: RunFiles) -> str:
    seconds = number(files.summary.get("seconds"))
    device = _words(_object(files.summary, "machine").get("device"))
    return "" if seconds is None else f"{seconds:.0f} s" + (f" on {device}" if device else "")


def estimate(summary: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """An estimate of `summary.json`, its value and its standard error; None where there is none.

    Args:
        summary: the entries of `summary.json`.
        name: the name of the estimate.
    """
    found = _object(summary, name)
    value, error = number(found.get("value")), number(found.get("error"))
    return None if value is None else (value, float("nan") if error is None else error)


def broken_files(files: RunFiles) -> Section | None:
    """The files of the run that the report leaves out, and why; None where there is none.

    Args:
        files: the files of the run.
    """
    if not files.broken:
        return None
    return {"kind": "note", "title": "Files that are left out", "message": " ".join(files.broken)}


def number(value: Any) -> float | None:
    """A finite number, or None.

    Args:
        value: an entry of `summary.json`.
    """
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and abs(value) < HUGE else None


def _object(entries: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = entries.get(name)
    return found if isinstance(found, dict) else {}


def _words(value: Any) -> str:
    """A plain value, or a list of such, in words; none of a nested one."""
    if isinstance(value, list):
        return ", ".join(_words(part) for part in value[:MANY] if not isinstance(part, list))[:LONGEST]
    return str(value)[:LONGEST] if isinstance(value, str | int | float) else ""
