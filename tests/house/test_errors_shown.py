"""A value and its error are written by one function, so that no error is ever printed as 0.00."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
WRITER = "pyrovae/display.py"


def test_one_function_writes_a_value_and_its_error(sources, none):
    """A "±" before or after a number in braces is a format of one's own: `plus_minus(value, error)` has the digits."""
    found = [
        f"{source.path}:{number}: {line.strip()}"
        for source in sources.values()
        if source.path != WRITER
        for number, line in enumerate((ROOT / source.path).read_text("utf-8").splitlines(), 1)
        if "} ±" in line or "± {" in line
    ]
    none(found, "write plus_minus(value, error) of pyrovae.display, or str(estimate)")


def test_no_page_prints_an_error_of_zero(none):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if "± 0.00 " in line or line.endswith("± 0.00")
    ]
    none(found, 'an error that rounds to 0.00 is "< 0.005"')
