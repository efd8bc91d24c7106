"""Functions and files are short."""

import ast
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
FUNCTION, MEDIAN, FILE = 40, 6, 400


def lines(function):
    """The lines of a function, without its docstring; of its signature one, since arguments are no code."""
    first = function.body[0]
    docstring = 0 if ast.get_docstring(function) is None else first.end_lineno - first.lineno + 1
    return function.end_lineno - first.lineno + 2 - docstring


def functions(sources):
    for source in sources.values():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield source, node


def test_functions_are_short(sources, none):
    long = [f"{s.path}:{f.lineno}: {f.name} has {lines(f)}" for s, f in functions(sources) if lines(f) > FUNCTION]
    none(long, f"a function has at most {FUNCTION} lines")


def test_most_functions_are_very_short(sources):
    assert median(lines(function) for _, function in functions(sources)) <= MEDIAN


def test_files_are_short(sources, none):
    tests = (str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py"))
    paths = [*(source.path for source in sources.values()), *tests]
    sizes = {path: len((ROOT / path).read_text().splitlines()) for path in paths}
    none([f"{path} has {size}" for path, size in sizes.items() if size > FILE], f"a file has at most {FILE} lines")
