"""The page that `conformance.py` writes: tables of tests and examples, in Markdown."""

import re
from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import Any

from conformance_results import Results, Row, passed

__all__ = ["page"]

HEAD = """# Conformance

Do Pyro's own tests and example programs still work if `pyrovae.inference.SVI` takes the place of `pyro.infer.SVI`?
`python benchmarks/conformance.py --pyro CHECKOUT` runs them with both, from a clone of
[Pyro](https://github.com/pyro-ppl/pyro), and writes this page. `--help` describes the steps.

- The tables list a test or an example if it takes at least one SVI step with Pyro's SVI. Both runs start from the same
  seed.
- *Captured* means that at least one graph was captured and replayed. *Eager* means that our SVI gave an `EagerWarning`
  and ran as plain Pyro. All others take too few steps: the first steps of a signature run before its graph is captured.
- *Digits* is the smallest number of decimal digits in which the first ten losses of the two runs agree.
- In tests, captured graphs are replayed operation by operation and are not compiled by inductor. This tests capture,
  guards and replay. Examples with a ratio were compiled; the other examples were replayed like tests.
- Times are CPU times of one thread: the median over the second half of the steps. The two runs follow each other, so a
  ratio is accurate to about 20 %.
- Where an example would download data, it gets random data of the real shape. Digits are those of MNIST where
  `PYROVAE_DATA` names them. An example is stopped after at most {steps} steps.

Versions: Pyro {pyro}, with the tests and examples of commit {commit} (version {checkout}); torch {torch}.
"""


def page(results: Results) -> str:
    """The page.

    Args:
        results: the file of results.
    """
    setting = [line for line in results.lines() if line["event"] == "setting"][-1]
    tests = [row for row in results.rows("test") if row.ours is not None]
    examples = [row for row in results.rows("example") if row.ours is not None]
    parts = [HEAD.format(**setting), "## Tests", _summary(tests), _files(results.rows("test"))]
    parts += ["### Tests that pass with Pyro's SVI only", _regressed(tests)]
    parts += ["### Why tests run eagerly", _reasons(tests)]
    parts += ["## Examples", _examples(examples), "### Why examples run eagerly", _reasons(examples), "## Not compared"]
    return "\n\n".join([*parts, _left_out(results)]) + "\n"


def _table(head: str, rows: Iterable[Iterable[Any]]) -> str:
    """A table; `head` names its columns, with bars between them."""
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([f"| {head} |", "|" + "---|" * (head.count("|") + 1), *lines]) if lines else "None."


def _summary(tests: list[Row]) -> str:
    theirs = [row for row in tests if passed(row.pyro)]
    both = sum(passed(row.ours) for row in theirs)
    captured = sum(row.compiled for row in tests)
    eager = sum(row.eager for row in tests)
    stopped = sum(row.pyro["outcome"] == "stopped" for row in tests)
    digits = Counter(row.digits for row in tests if passed(row.ours) and row.digits is not None)
    most = sum(count for number, count in digits.items() if number >= 10)
    return (
        f"{len(tests):,} tests that take SVI steps were run with our SVI. {len(theirs):,} of them pass with Pyro's "
        f"SVI, and **{both:,} of these with ours**. "
        f"{captured:,} are captured, {eager:,} run eagerly with a reason, and {len(tests) - captured - eager:,} take "
        f"too few steps. {stopped:,} were stopped after some steps, before their last assertions. "
        f"In {most:,} of the {sum(digits.values()):,} tests that pass, the first losses agree to ten digits or more."
    )


def _files(rows: list[Row]) -> str:
    table = []
    for file in dict.fromkeys(row.file for row in rows if row.ours is not None):
        mine = [row for row in rows if row.file == file]
        run = [row for row in mine if row.ours is not None]
        digits = [row.digits for row in run if row.digits is not None and passed(row.ours)]
        counts = [sum(chosen) for chosen in zip(*map(_counted, run), strict=True)]
        span = f"{min(digits)}–{max(digits)}" if digits else "–"
        table.append([file.removeprefix("tests/"), len(mine), len(run), *counts, span])
    return _table(
        "file | take SVI steps | run with ours | pass with Pyro's | pass with both | captured | eager | digits", table
    )


def _counted(row: Row) -> tuple[bool, ...]:
    return passed(row.pyro), passed(row.pyro) and passed(row.ours), row.compiled, row.eager


def _regressed(tests: list[Row]) -> str:
    rows = [(f"`{row.name.removeprefix('tests/')}`", _ours(row)["error"][:200]) for row in tests if row.regressed]
    return _table("test | error with ours", rows)


def _ours(row: Row) -> dict[str, Any]:
    return row.ours or {}


def _reasons(rows: list[Row]) -> str:
    counts = Counter(reason for row in rows for reason in {_shortened(text) for text in _ours(row).get("eager", [])})
    return _table("reason | how many", counts.most_common())


def _shortened(reason: str) -> str:
    line = reason.splitlines()[0].removeprefix("Runs eagerly, not compiled: ").rstrip(".")
    return line if len(line) <= 160 else f"{line[:160]}..."


def _examples(examples: list[Row]) -> str:
    rows = []
    for row in examples:
        lines = (row.pyro, _ours(row)) if row.ratio else ()
        times = [f"{line['step_ms']:.2f}" for line in lines] or ["–", "–"]
        ratio = f"**{row.ratio:.2f}**" if row.ratio and passed(row.ours) else "–"
        state = "yes" if row.compiled else ("eager" if row.eager else "no")
        digits = "–" if row.digits is None else row.digits
        steps = _ours(row).get("steps", 0)
        rows.append([f"`{row.name}`", row.pyro["outcome"], _outcome(row), steps, state, digits, *times, ratio])
    head = "example | with Pyro's | with ours | steps | captured | digits | Pyro's, ms/step | ours, ms/step | ratio"
    ratios = [row.ratio for row in examples if row.compiled and row.ratio and passed(row.ours)]
    if not ratios:
        return _table(head, rows)
    text = f"The median ratio of the {len(ratios)} captured examples with a ratio is {median(ratios):.2f}."
    return f"{_table(head, rows)}\n\n{text}"


def _outcome(row: Row) -> str:
    ours = _ours(row)
    return ours["outcome"] if passed(ours) else f"{ours['outcome']}: {ours.get('error', '')[:120]}"


def _left_out(results: Results) -> str:
    tests = results.of("test", "pyro").values()
    skipped = Counter(_lacks(line["error"]) for line in tests if line["outcome"] == "skipped")
    long = [line["id"] for line in tests if line["outcome"] == "time limit"]
    failed = [row.name for kind in ("test", "example") for row in results.rows(kind) if not passed(row.pyro)]
    still = sum(not line.get("steps") for line in tests)
    names = [f"`{name.removeprefix('tests/')}`" for name in long]
    return "\n".join(
        [
            f"- {still:,} tests of the same files take no SVI step.",
            f"- {len(long):,} take longer than the time limit with Pyro's SVI: {', '.join(names) or 'none'}.",
            f"- {len(failed):,} fail with Pyro's SVI; most use `torch.jit.trace`, whose deprecation warning is an "
            "error here.",
            *(f"- {count:,} are skipped: {reason}." for reason, count in skipped.most_common() if reason),
        ]
    )


def _lacks(error: str) -> str:
    """What a skipped test lacks; nothing where it is skipped for another reason."""
    found = re.search(r"could not import '[\w.]+'|\w+ is not available|No module named '[\w.]+'", error)
    return found[0] if found else ""
