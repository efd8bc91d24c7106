"""Write the report of a run folder: pyrovae report runs/vae, or python -m pyrovae.report runs/vae

report.html shows the pair that was trained: the folder says how to build it, and where its data are. Nothing in the
folder is executed, so it may come from anyone; classes of your own need write_report in Python.

summary.html shows what the files of the folder say, without the pair: curves, numbers, settings, pictures. It is
written with --summary, and where the pair cannot be built.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pyrovae.data import Batch, Dataset, Standardize
from pyrovae.errors import FolderError, PyrovaeError, UnknownClassError
from pyrovae.inference.evidence.estimates import evaluate
from pyrovae.inference.evidence.units import in_units
from pyrovae.report.files import read_json
from pyrovae.report.folder import report_folder
from pyrovae.report.write import write_report
from pyrovae.sharing import load_run

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Write the report of a run folder.

    Args:
        argv: the command line; by default that of the process.

    Returns:
        The exit status: 0, or 2 after an error.
    """
    flags = _parser().parse_args(argv)
    try:
        return _summarise(flags.run, "") if flags.summary else _report(flags)
    except PyrovaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    first, more = __doc__.split("\n\n", 1)
    p = argparse.ArgumentParser(
        prog="pyrovae report",
        description=first,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("run", type=Path, help="run folder")
    p.add_argument("--summary", action="store_true", help="write summary.html alone, without building the pair")
    count = "number of test data points that are scored; 0 scores all, by default as many as the run scored"
    p.add_argument("--evaluate", type=_whole, metavar="N", help=count)
    p.add_argument("--num-samples", type=_whole, default=100, metavar="S", help="draws per data point (default: 100)")
    p.add_argument("--seed", type=_whole, default=0, help="seed of the draws (default: 0)")
    return p


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"requires a whole number of at least 0, got {text!r}")
    return int(text)


def _report(flags: argparse.Namespace) -> int:
    """Write the full report; where the pair or its data cannot be had, the page of the files, and why."""
    run = flags.run
    if not (run / "pair.json").exists():
        shown = _show_below(run)
        return _summarise(run, _instead(run)) if shown is None else shown
    try:
        loaded = load_run(run)
        if loaded.data is None:
            raise FolderError(f"{loaded.note}. {_instead(run)}")
    except PyrovaeError as error:
        _summarise(run, "")
        more = _with_classes(run) if isinstance(error, UnknownClassError) else ""
        print(f"error: report.html is not written: {error}{more}", file=sys.stderr)
        return 2
    batch = _scored(loaded.data, run, flags.evaluate)
    drawn: dict[str, Any] = {"transform": loaded.transform, "seed": flags.seed}
    measured = evaluate(loaded.model, loaded.guide, batch, num_samples=flags.num_samples, progress=True, **drawn)
    if isinstance(loaded.transform, Standardize):
        measured = in_units(measured, loaded.transform.log_jacobian)
    classes = loaded.data.classes or ()
    path = write_report(loaded.model, loaded.guide, batch, run=run, classes=classes, measured=measured, **drawn)
    print(f"report  {path}, {path.stat().st_size / 1e6:.1f} MB")
    return 0


def _scored(data: Dataset, run: Path, count: int | None) -> Batch:
    """The test data that are scored; those of validation or training where there are none."""
    split = next(split for split in (data.test, data.valid, data.train) if split and len(next(iter(split.values()))))
    if count is None:
        summary = run / "summary.json"
        found = read_json(summary).get("test_data") if summary.is_file() else None
        count = found if isinstance(found, int) and found > 0 else 0
    return {name: tensor[: count or None] for name, tensor in split.items()}


def _summarise(run: Path, more: str) -> int:
    """Write the page of what the folder holds."""
    path, files = report_folder(run)
    for sentence in files.broken:
        print(f"left out: {sentence}", file=sys.stderr)
    print(f"page    {path}, from the files of the folder; the pair was not built")
    if more:
        print(more)
    return 0


def _show_below(run: Path) -> int | None:
    """Name the runs below a folder that is none itself; None where there are none."""
    below = sorted(path.parent for path in run.glob("*/pair.json"))[:20]
    if not below or (run / "checkpoint.pt").exists():
        return None
    lines = [f"  pyrovae report {json.dumps(str(path))}" for path in below]
    print(f"{run} holds several runs. Write one of:", *lines, sep="\n")
    return 0


def _with_classes(run: Path) -> str:
    """What follows the line that loads a pair of the user's own classes, which a command cannot import."""
    return (
        f" For the report, write run = load_run(...) so, and pyrovae.report.write_report(run.model, run.guide, "
        f"run.data.test, run={str(run)!r}, transform=run.transform)."
    )


def _instead(run: Path) -> str:
    """How to get the full report of a folder that does not say how its pair is built, or where its data are."""
    return (
        "The full report needs the pair and its data. Write in Python:\n"
        f"  pyrovae.inference.load_weights(model, guide, {str(run)!r})\n"
        f"  pyrovae.report.write_report(model, guide, data, run={str(run)!r})"
    )


if __name__ == "__main__":
    sys.exit(main())
