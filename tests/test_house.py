"""The house: imports point one way, by exported names; functions and files are short; every parameter is documented."""

import ast
import importlib
import inspect
import pkgutil
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"models": "pyrovae.models", "guides": "pyrovae.guides", "inference": "pyrovae.inference"}
FOLDERS |= {"examples": "pyrovae.examples", "pyrovae": "pyrovae"}

ORDER = [
    *("version", "errors", "imports", "numeric", "networks", "data", "plots", "models", "guides"),
    *("inference.pair", "inference.compile", "inference.objectives", "inference.evidence", "inference.training"),
    *("inference.draws", "inference.latent", "inference.diagnostics", "inference.tasks", "inference.estimators"),
    *("inference", "report", "examples"),
]
"""The rooms, each of which may import those before it. `pyrovae` itself imports its rooms when they are asked for."""

LONGEST_FUNCTION, MEDIAN, LONGEST_FILE = 40, 6, 400

UNDERSTOOD = {"self", "cls", "model", "guide", "data", "batch", "x", "args", "kwargs"}
"""Parameters that mean the same everywhere: the pair, its data, and what is handed on to the user's own programs."""


def sources(*folders: str) -> dict[str, Path]:
    """The modules by name."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [FOLDERS[folder], *path.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


SOURCES = sources(*FOLDERS)
TREES = {name: ast.parse(path.read_text()) for name, path in SOURCES.items()}


def room(module: str) -> str:
    """The room of a module: the longest name in the order that its own begins with."""
    inside = module.removeprefix("pyrovae.")
    return max((r for r in ORDER if inside == r or inside.startswith(f"{r}.")), key=len, default="")


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """What a module imports of the suite, `(module, name)`, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pyrovae":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole, "") if whole in TREES else (str(node.module), alias.name)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "pyrovae")


def exported(module: str) -> set[str]:
    """What a module lists in `__all__`, and the estimators, which are imported when they are asked for."""
    names = set()
    for node in TREES[module].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__all__", "_ESTIMATORS"):
            names |= set(ast.literal_eval(node.value))
    return names


def test_imports_point_one_way():
    upward = []
    for module, tree in TREES.items():
        mine = room(module)
        for other, _ in imported(tree):
            theirs = room(other)
            if mine and theirs and ORDER.index(theirs) > ORDER.index(mine):
                upward.append(f"{module} ({mine}) imports {other} ({theirs})")
    assert not upward, "\n".join(upward)


def test_every_module_has_a_room():
    assert [module for module in TREES if not room(module) and module != "pyrovae"] == []


def test_modules_import_what_others_export():
    hidden = []
    for module, tree in TREES.items():
        for other, name in imported(tree):
            if name and name != "__version__" and (name.startswith("_") or name not in exported(other)):
                hidden.append(f"{module} imports {name} of {other}")
    assert not hidden, "\n".join(hidden)


def test_no_module_imports_itself_on_the_way():
    """No cycle among modules; the faces of packages, which re-export, are left out."""
    faces = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
    graph = {m: {o for o, _ in imported(tree) if o in TREES} - faces for m, tree in TREES.items()}
    graph = {m: others for m, others in graph.items() if m not in faces}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way, module])
        if module not in done:
            for other in graph[module]:
                visit(other, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def lengths(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Each function with its number of lines, docstring left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            docstring = first.end_lineno - first.lineno + 1 if doc and len(node.body) > 1 else 0
            yield node.name, node.end_lineno - node.lineno + 1 - docstring


def test_functions_are_short():
    found = [(length, f"{module}.{name}") for module, tree in TREES.items() for name, length in lengths(tree)]
    long = [f"{length} lines: {name}" for length, name in found if length > LONGEST_FUNCTION]
    assert not long, "\n".join(long)
    assert statistics.median(length for length, _ in found) <= MEDIAN


def test_files_are_short():
    paths = [*SOURCES.values(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    counts = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}
    assert {name: count for name, count in counts.items() if count > LONGEST_FILE} == {}


# ------------------------------------------------------------------------------------------------------ docstrings


def public() -> Iterator[tuple[str, object, str]]:
    """Every public function, class and method: name, object, and the docstring that tells its parameters."""
    for module in modules():
        for name in getattr(module, "__all__", ()):
            item = getattr(module, name)
            if getattr(item, "__module__", None) != module.__name__:
                continue
            where, text = f"{module.__name__}.{name}", inspect.getdoc(item) or ""
            if inspect.isfunction(item):
                yield where, item, text
            elif inspect.isclass(item):
                yield from of_class(where, item, text)


def of_class(where: str, item: type, text: str) -> Iterator[tuple[str, object, str]]:
    if "__init__" in vars(item) and inspect.isfunction(item.__init__):
        yield where, item.__init__, text + (inspect.getdoc(item.__init__) or "")
    for name, method in vars(item).items():
        method = getattr(method, "__func__", method)
        if inspect.isfunction(method) and not name.startswith("_") and name != "forward":
            yield f"{where}.{name}", method, text + (inspect.getdoc(getattr(item, name)) or "")


def modules() -> Iterator[ModuleType]:
    for name in SOURCES:
        if not name.startswith("pyrovae.examples") and not name.endswith("__main__"):
            yield importlib.import_module(name)


@pytest.mark.parametrize("folder", ["models", "guides", "inference", "pyrovae"])
def test_every_parameter_is_in_the_docstring(folder):
    unnamed = []
    for where, item, text in public():
        if where.startswith(FOLDERS[folder]) and (folder != "pyrovae" or not where.startswith(tuple(OTHERS))):
            for name in inspect.signature(item).parameters:
                if name not in UNDERSTOOD and not name.startswith("_") and not re.search(rf"\b{name}\b", text):
                    unnamed.append(f"{where}: {name}")
    assert not unnamed, "\n".join(unnamed)


OTHERS = [name for name in FOLDERS.values() if name != "pyrovae"]


def test_the_rooms_are_packages():
    """What setup.cfg lists is what there is."""
    listed = re.findall(r"^    (pyrovae[\w.]*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    packages = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
    assert set(listed) == packages
    assert all(pkgutil.resolve_name(name) for name in listed)
