"""The text notebooks: their form, and a run of every cell with few data, few steps and few draws."""

import ast
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from pyrovae import data

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.md"))
by_name = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)

HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""

SHORT = {
    "EPOCHS": "1",
    "PASSES": "2",
    "STEPS": "12",
    "EVERY": "2",
    "DRAWS": "24",
    "COUNTS": "[1, 8]",
    "SIMULATIONS": "25",
    "REPEATS": "2",
    "TABLES": "2",
    "COMMON": "4",
    "POINTS": "20",
    "LADDER": "[1, 2]",
    "TEMPERATURES": "3",
    "IMAGES": "2",
}
"""What the constants of the notebooks are in a short run. Each is a line of its own in a cell, `EPOCHS = 30`."""


def cells(notebook):
    """The code of a notebook, cell by cell."""
    return re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```$", notebook.read_text(), re.DOTALL | re.MULTILINE)


def prose(notebook):
    """A notebook without its code."""
    return re.sub(r"^```.*?^```$", "", notebook.read_text(), flags=re.DOTALL | re.MULTILINE)


def shortened(code):
    for name, value in SHORT.items():
        code = re.sub(rf"^{name} = [^#\n]*", f"{name} = {value}  ", code, flags=re.MULTILINE)
    return code


def run(code, name, namespace):
    """Run a cell, and return what it shows: the value of its last line, where that is an expression."""
    tree = ast.parse(code, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    return last and eval(compile(ast.Expression(last.value), name, "eval"), namespace)


def few(batch, count):
    return {name: tensor[:count] for name, tensor in batch.items()}


@pytest.fixture
def little_data(monkeypatch, tmp_path):
    """Data sets of 200 / 40 / 60 rows, text excepted, and temporary files that go away."""
    load = data.load

    def loaded(name):
        whole = load(name)
        if whole.vocabulary:
            return replace(whole, train=few(whole.train, 3000))
        return replace(whole, train=few(whole.train, 200), valid=few(whole.valid, 40), test=few(whole.test, 60))

    monkeypatch.setattr(data, "load", loaded)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def test_the_notebooks_are_numbered():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{number:02d}-" for number in range(1, len(NOTEBOOKS) + 1)]
    assert len(NOTEBOOKS) == 9


@by_name
def test_its_form(notebook):
    text, words = notebook.read_text(), prose(notebook)
    assert text.startswith(HEADER)
    assert len(re.findall(r"^# ", words, re.MULTILINE)) == 1
    assert re.search(r"^# .+\n\n\*\*The question\.\*\* ", words, re.MULTILINE)
    exercises = re.search(r"^## Exercises\n(.*?)^## Where to go next\n", words, re.DOTALL | re.MULTILINE)
    assert exercises
    assert len(re.findall(r"^\d\. ", exercises[1], re.MULTILINE)) == 3
    assert words.count("**What to see.**") >= 2
    assert text.count("```{code-cell}") == len(cells(notebook)) >= 6


@by_name
def test_it_has_no_stored_outputs(notebook):
    text = notebook.read_text()
    assert not re.search(r"data:image|<img|<div|\{output\}|execution_count|PYROVAE_SHORT", text)
    assert max(map(len, text.splitlines())) <= 120
    assert max(map(len, "".join(cells(notebook)).splitlines())) <= 96  # what a page shows without scrolling


@by_name
def test_its_links_lead_somewhere(notebook):
    for target in re.findall(r"\]\((?!http)([^)#]*)", prose(notebook)):
        assert (FOLDER / target).is_file(), target


@by_name
def test_it_says_what_a_reader_may_change(notebook):
    """Constants in capitals stand alone in their line, so that this test, and a reader, can change them."""
    named = set(re.findall(r"^([A-Z]+)\b.* = \d", "\n".join(cells(notebook)), re.MULTILINE))
    assert named & set(SHORT)


@by_name
def test_every_cell_runs(notebook, little_data):
    namespace = {"__name__": "__main__"}
    for number, cell in enumerate(cells(notebook)):
        shown = run(shortened(cell), f"{notebook.name}, cell {number}", namespace)
        assert shown is None or (getattr(shown, "_repr_html_", lambda: None)() or repr(shown))
