"""A report of any pair: what is measured and shown, and the file that holds it."""

import platform
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import torch

from pyrovae.data import Batch
from pyrovae.errors import CheckpointError, PyrovaeError
from pyrovae.inference import Evaluation, evaluate
from pyrovae.inference.diagnostics import Diagnosis, diagnose
from pyrovae.inference.evidence.comparison import EvidenceComparison
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.running import unchanged
from pyrovae.inference.training.checkpoint import has_run, load
from pyrovae.inference.training.history import History
from pyrovae.inference.training.training_state import history_of
from pyrovae.output import write_text
from pyrovae.report import sections
from pyrovae.report.facts import broken_files, run_facts, training_facts
from pyrovae.report.files import RunFiles
from pyrovae.report.heading import heading
from pyrovae.report.page import page
from pyrovae.report.reported import ReportedPair
from pyrovae.report.sections import Section
from pyrovae.version import __version__

__all__ = ["write_report"]

DIAGNOSED, DRAWS = 200, 300
"""Data points that are diagnosed where no diagnosis is given, and draws for each."""

MAPS = 3
"""Latent sites that have a map and traversals at most."""


def write_report(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    run: str | Path,
    transform: Any = None,
    classes: Sequence[str] = (),
    measured: Evaluation | None = None,
    trust: Diagnosis | None = None,
    comparison: EvidenceComparison | None = None,
    num_samples: int = 100,
    seed: int = 0,
) -> Path:
    """Write `report.html`: one file that needs no network and opens in any browser.

    The sections depend on the pair: training curves where the run folder has them, images or numbers, a map and
    traversals for each latent site of vectors. Where a tool refuses the pair, its message takes the place of the
    section.

    Args:
        model, guide: any pair that keeps the contract.
        data: data to show and to score, prepared as for `evaluate`; the first 400 data points are shown.
        run: the folder for the report. What `fit` and the examples wrote there (curves, data, settings, time) is shown
            too; what is broken there is left out, and the page says so.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
        classes: the names of the labels 0, 1, ... in `y`.
        measured: the result of `evaluate` on these data; computed if None.
        trust: the result of `diagnose`; if None, it is called on the first 200 data points with 300 draws each.
        comparison: the result of `compare_evidence`, which takes longer; if None, the report shows ELBO and importance
            sampling.
        num_samples: draws per data point for the evidence, where `measured` is None.
        seed: the seed of every draw; the global random state stays as it is.

    Returns:
        The path of the report.

    Raises:
        PairError, ShapeError: the pair cannot be evaluated on these data.
        OutputError: the folder cannot be written.
    """
    files = RunFiles.of(Path(run))
    measured = measured or evaluate(model, guide, data, num_samples=num_samples, transform=transform, seed=seed)
    pair = ReportedPair.of(model, guide, data, transform, classes, seed)
    shown = f"{len(measured.per_datum['elbo']):,} data points scored, {len(pair.x):,} shown"
    lead = f"{shown}. Written by pyrovae {__version__}."
    content = {
        **heading(f"{_name(model)} and {_name(guide)}", lead, files),
        "sections": _sections(pair, measured, trust, comparison, files),
    }
    path = files.folder / "report.html"
    write_text(path, page(content))
    return path


def _sections(
    pair: ReportedPair,
    measured: Evaluation,
    trust: Diagnosis | None,
    comparison: EvidenceComparison | None,
    files: RunFiles,
) -> list[Section]:
    """All sections that apply to this pair."""
    maps = pair.vectors[:MAPS]
    made = [
        _made("The run", lambda: sections.overview(pair, measured, _facts(pair, files))),
        broken_files(files),
        _made("Training", lambda: sections.curves(files.metrics)),
        _made("Data and reconstructions", lambda: sections.reconstructions(pair)),
        _made("Samples of the prior", lambda: sections.samples(pair)),
        *(_made(f"Latent map of {latent}", partial(sections.latent_map, pair, latent)) for latent in maps),
        *(_made(f"Traversals of {latent}", partial(sections.traversals, pair, latent)) for latent in maps),
        _made("Posterior draws", lambda: sections.draws(pair) if pair.density else None),
        _made("Trust", lambda: sections.trust(trust or _diagnosed(pair)) if pair.judged else None),
        _made("Evidence", lambda: sections.evidence(measured, comparison) if pair.density else None),
        sections.glossary(),
    ]
    return [section for section in made if section is not None]


def _diagnosed(pair: ReportedPair) -> Diagnosis:
    few = {name: tensor[:DIAGNOSED] for name, tensor in pair.batch.items()}
    return diagnose(
        pair.model, pair.guide, few, num_samples=DRAWS, num_simulations=DRAWS, transform=unchanged, seed=pair.seed
    )


def _made(title: str, make: Callable[[], Section | None]) -> Section | None:
    """The section, or in its place the message of the tool that refuses the pair."""
    try:
        return make()
    except PyrovaeError as error:
        return {"kind": "note", "title": title, "message": f"Not for this pair: {error}"}


def _facts(pair: ReportedPair, files: RunFiles) -> dict[str, Any]:
    """What is known about the run: short facts, and longer ones that the page folds away."""
    facts = run_facts(files)
    if (history := _history(files.folder)) is not None:
        facts |= {name: words for name, words in training_facts(history).items() if name not in facts}
    sites = {name: tuple(z.shape[1:]) for name, z in pair.codes.items()}
    facts["latent sites"] = ", ".join(f"{name} {shape}" for name, shape in sites.items())
    versions = {"pyrovae": __version__, "torch": torch.__version__, "pyro": pyro.__version__}
    facts["versions"] = ", ".join(f"{n} {v}" for n, v in {**versions, "python": platform.python_version()}.items())
    return {**facts, "model": repr(pair.model), "guide": repr(pair.guide)}


def _history(folder: Path) -> History | None:
    """The history of the training in a folder; None where there is none, or its checkpoint is broken."""
    if not has_run(folder):
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # a broken checkpoint, in place of which the one before is read
            return history_of(load(folder / "checkpoint.pt"))
    except CheckpointError:
        return None


def _name(program: ProgramLike) -> str:
    return getattr(program, "__name__", type(program).__name__)
