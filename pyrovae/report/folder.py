"""The page of a run folder alone: what its files say, without the pair, so that nothing has to run."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyrovae.errors import CheckpointError
from pyrovae.output import write_text
from pyrovae.report import sections
from pyrovae.report.facts import broken_files, estimate, number, run_facts
from pyrovae.report.files import LONGEST, RunFiles, picture
from pyrovae.report.heading import heading
from pyrovae.report.page import page
from pyrovae.report.sections import Section
from pyrovae.report.sections.section import doubts
from pyrovae.version import __version__

__all__ = ["report_folder"]

PICTURES = 12
"""The most pictures that a page shows."""

TILES = {
    "ELBO": ("elbo", "what training maximises: −(rate + distortion)"),
    "rate": ("rate", "KL(q(z|x) ‖ p(z)), what a code says about its data point"),
    "distortion": ("distortion", "−E log p(x|z), what the code leaves open"),
    "log-evidence": ("log_evidence", "log p(x), importance sampling"),
}
"""The headline numbers: where `summary.json` has them, and what they are."""


def report_folder(run: str | Path) -> tuple[Path, RunFiles]:
    """Write `summary.html`: one page of what a run folder holds. Nothing in the folder is run or trusted.

    It shows the closing numbers and settings (`summary.json`), the training curves (`metrics.json`), the programs
    (`config.json`) and the pictures. A file that is broken is named and left out. `write_report` needs the pair and
    shows more; its `report.html` is not touched.

    Args:
        run: the run folder, of `fit` or of an example.

    Returns:
        The path of the page, and the files; `broken` says which of them were left out.

    Raises:
        CheckpointError: there is no such folder, or it holds no file of a run.
        OutputError: the folder cannot be written.
    """
    folder = Path(run)
    files, pictures = _with_pictures(RunFiles.of(folder))
    if not (files.summary or files.metrics or files.config or pictures or files.broken):
        raise CheckpointError(
            f"A report requires a run folder, got {str(folder)!r}, which holds no summary.json, metrics.json, "
            "config.json or picture. Train a pair into it: fit(..., run=...), or an example with --out."
        )
    lead = f"Made from the files of the run folder; nothing was run. Written by pyrovae {__version__}."
    content = {
        **heading(f"Run {folder.resolve().name}", lead, files),
        "sections": _sections(files, pictures),
    }
    path = folder / "summary.html"
    write_text(path, page(content))
    return path, files


def _with_pictures(files: RunFiles) -> tuple[RunFiles, list[dict[str, str]]]:
    """The files, and the pictures beside them; broken pictures are noted among the files."""
    shown, broken = [], list(files.broken)
    for path in sorted(files.folder.glob("*.png"))[:PICTURES]:
        try:
            shown.append({"name": path.stem, "source": picture(path)})
        except CheckpointError as error:
            broken.append(str(error))
    return replace(files, broken=tuple(broken)), shown


def _sections(files: RunFiles, pictures: list[dict[str, str]]) -> list[Section]:
    made = [
        {"kind": "overview", "title": "The run", "tiles": _tiles(files), "facts": run_facts(files) | _programs(files)},
        broken_files(files),
        sections.curves(files.metrics),
        {"kind": "pictures", "title": "Pictures", "items": pictures} if pictures else None,
    ]
    return [section for section in made if section is not None]


def _tiles(files: RunFiles) -> list[Any]:
    share = number(files.summary.get("unreliable"))
    notes = {"log-evidence": doubts(math.nan if share is None else share)}
    found = [
        (name, estimate(files.summary, key), "; ".join(filter(None, (note, notes.get(name)))))
        for name, (key, note) in TILES.items()
    ]
    return [tile for tile in found if tile[1] is not None]


def _programs(files: RunFiles) -> dict[str, str]:
    """How `config.json` writes model and guide."""
    found = {name: files.config.get(name) for name in ("model", "guide")}
    return {name: program[:LONGEST] for name, program in found.items() if isinstance(program, str)}
