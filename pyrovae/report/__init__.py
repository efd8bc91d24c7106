"""The report: one HTML file that shows a trained pair, and how far to trust it.

`write_report` is for any pair; `python -m pyrovae.report runs/vae` is for the runs of the examples.
"""

import json
import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import torch

from pyrovae.data import Batch, Scale
from pyrovae.errors import PyrovaeError
from pyrovae.inference import Evaluation, evaluate
from pyrovae.inference.diagnostics import Trust, diagnose
from pyrovae.inference.evidence.comparison import Comparison
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.running import unchanged
from pyrovae.inference.training.checkpoint import write_atomically
from pyrovae.report import sections
from pyrovae.report.page import page
from pyrovae.report.sections import Section
from pyrovae.report.subject import Subject
from pyrovae.version import __version__

__all__ = ["write_report"]

DIAGNOSED, DRAWS = 200, 300


def write_report(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    run: str | Path,
    transform: Any = None,
    classes: Sequence[str] = (),
    measured: Evaluation | None = None,
    trust: Trust | None = None,
    comparison: Comparison | None = None,
    num_samples: int = 100,
    seed: int = 0,
) -> Path:
    """Write `report.html`: one file that needs no network, and opens in any browser.

    Which sections there are depends on the pair: training curves where the run folder has them, images or numbers, a
    map and traversals for each latent site of vectors. Where a tool refuses, its words stand in place of the section.

    Args:
        model, guide: any pair that keeps the contract.
        data: data to show and to score, prepared as for `evaluate`; the first 400 are shown.
        run: the folder for the report. What `fit` and the examples wrote there (`metrics.json`, `config.json`,
            `summary.json`) is shown too.
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).
        classes: the names that labels `y` count through.
        measured: the result of `evaluate` on these data, where it is already there.
        trust: the result of `diagnose`; by default it is called on the first 200 data with 300 draws each.
        comparison: the result of `compare_evidence`, which takes longer, to be shown in place of ELBO and importance
            sampling alone.
        num_samples: draws per datum of the evidence, where `measured` is not given.
        seed: of all draws; the global random state is left alone.

    Raises:
        PairError, ShapeError: the pair cannot be evaluated on these data.
        OutputError: the folder cannot be written.
    """
    run, transform = Path(run), transform or Scale()
    measured = measured or evaluate(model, guide, data, num_samples=num_samples, transform=transform, seed=seed)
    subject = Subject.of(model, guide, data, transform, classes, seed)
    content = {
        "title": f"{_name(model)} and {_name(guide)}",
        "lead": f"{batch_size(data):,} data scored, {len(subject.x):,} shown. Written by pyrovae {__version__}.",
        "sections": _sections(subject, measured, trust, comparison, run),
    }
    path = run / "report.html"
    write_atomically(path, lambda file: file.write(page(content).encode()))
    return path


def _sections(
    s: Subject, measured: Evaluation, trust: Trust | None, comparison: Comparison | None, run: Path
) -> list[Section]:
    """All sections that have a meaning for this pair."""
    maps = s.flat[: sections.MAPS]
    made = [
        _made("The run", lambda: sections.overview(s, measured, _facts(s, run))),
        _made("Training", lambda: sections.curves(_read(run / "metrics.json", []))),
        _made("Data and reconstructions", lambda: sections.reconstructions(s)),
        _made("Samples of the prior", lambda: sections.samples(s)),
        *(_made(f"Latent map of {site}", partial(sections.latent_map, s, site)) for site in maps),
        *(_made(f"Traversals of {site}", partial(sections.traversals, s, site)) for site in maps),
        _made("Posterior draws", lambda: sections.draws(s) if s.density else None),
        _made("Trust", lambda: sections.trust(trust or _diagnosed(s)) if s.density else None),
        _made("Evidence", lambda: sections.evidence(measured, comparison) if s.density else None),
    ]
    return [section for section in made if section is not None]


def _diagnosed(s: Subject) -> Trust:
    few = {name: tensor[:DIAGNOSED] for name, tensor in s.batch.items()}
    return diagnose(s.model, s.guide, few, num_samples=DRAWS, simulations=DRAWS, transform=unchanged, seed=s.seed)


def _made(title: str, make: Callable[[], Section | None]) -> Section | None:
    """The section, or in its place what the tool says that refuses it."""
    try:
        return make()
    except PyrovaeError as error:
        return {"kind": "note", "title": title, "message": f"Not for this pair: {error}"}


def _facts(s: Subject, run: Path) -> dict[str, Any]:
    """What is known of the run: short facts, and longer ones that the page folds away."""
    summary = _read(run / "summary.json", {})
    named = {"data": "data", "transform": "transform", "epochs": "epochs", "best epoch": "best_epoch"}
    facts: dict[str, Any] = {name: str(summary[key]) for name, key in named.items() if summary.get(key) is not None}
    if "seconds" in summary:
        facts["training time"] = f"{summary['seconds']:.0f} s on {summary['machine']['device']}"
    sites = {name: tuple(z.shape[1:]) for name, z in s.codes.items()}
    facts["latent sites"] = ", ".join(f"{name} {shape}" for name, shape in sites.items())
    versions = {"pyrovae": __version__, "torch": torch.__version__, "pyro": pyro.__version__}
    facts["versions"] = ", ".join(f"{n} {v}" for n, v in {**versions, "python": platform.python_version()}.items())
    if "arguments" in summary:
        facts["settings"] = {name: value for name, value in summary["arguments"].items() if value != "None"}
    return {**facts, "model": repr(s.model), "guide": repr(s.guide)}


def _read(path: Path, missing: Any) -> Any:
    """What a file of the run folder holds."""
    return json.loads(path.read_text()) if path.is_file() else missing


def _name(program: ProgramLike) -> str:
    return getattr(program, "__name__", type(program).__name__)
