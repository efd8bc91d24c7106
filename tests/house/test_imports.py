"""Imports point one way, form no cycle, and name what the other module exports."""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

ROOT = ["version", "errors", "checks", "numeric", "output", "imports", "display", "recorded"]
ROOT += ["gallery", "cli", "__main__"]  # what a command asks for, they import late
SCRIPTS = ("benchmarks", "examples")
BASE = [f"pyrovae.{name}" for name in ROOT]
INFERENCE = [
    "processes",
    "pair",
    "compile",
    "objectives",
    "evidence",
    "training",
    "draws",
    "latent",
    "diagnostics",
    "tasks",
]

# A room imports from the rooms before it and from itself. Two packages hold rooms, and export names of theirs.
ORDER = [
    BASE,
    ["pyrovae.networks"],
    ["pyrovae.data"],
    ["pyrovae.plots"],
    ["pyrovae.models"],
    ["pyrovae.guides"],
    ["pyrovae.blueprint"],
    *([f"pyrovae.inference.{room}"] for room in INFERENCE),
    ["pyrovae.sharing"],
    ["pyrovae.inference.estimators"],
    ["pyrovae.inference"],
    ["pyrovae.export"],
    ["pyrovae.tracking"],
    ["pyrovae.report"],
    ["pyrovae"],
    ["pyrovae.examples"],
    ["benchmarks"],
]
HOLD_ROOMS = {"pyrovae", "pyrovae.inference"}

# What a module gives without exporting it: the version, and estimators that need scikit-learn, imported when asked for.
UNLISTED = {None, "__version__", "VAEDetector", "VAEImputer", "VAESynthesizer", "VAETransformer"}


def rank(name):
    """The place of a module's room in the order; None if it is in no room."""
    for place, rooms in enumerate(ORDER):
        for room in rooms:
            if name == room or (room not in HOLD_ROOMS and name.startswith(f"{room}.")):
                return place
    return None


@pytest.fixture(scope="session")
def imports(sources):
    """All imports of the package's modules, in functions too: where, importer, imported module, name or None."""
    found = []
    for importer, source in sources.items():
        for node in ast.walk(source.tree):
            where = f"{source.path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                found += [(where, importer, alias.name, None) for alias in node.names if inside(alias.name)]
            elif isinstance(node, ast.ImportFrom) and inside(node.module or ""):
                found += [(where, importer, *target(node.module, alias.name, sources)) for alias in node.names]
    return found


def target(module, name, sources):
    """What `from module import name` imports: a module, or a name of one."""
    return (f"{module}.{name}", None) if f"{module}.{name}" in sources else (module, name)


def inside(name):
    return name.split(".")[0] == "pyrovae"


def test_every_module_is_in_a_room(sources, none):
    none([f"{source.path}: {name}" for name, source in sources.items() if rank(name) is None], "a module is in a room")


def test_imports_point_one_way(imports, none):
    upward = [
        f"{where}: {importer} imports {module}"
        for where, importer, module, _ in imports
        if None not in (rank(importer), rank(module)) and rank(module) > rank(importer)
    ]
    none(upward, "a room imports from the rooms before it")


def test_plots_know_tensors_only(imports, none):
    known = [
        f"{where}: {importer} imports {module}"
        for where, importer, module, _ in imports
        if importer.startswith("pyrovae.plots") and not module.startswith((*BASE, "pyrovae.plots"))
    ]
    none(known, "plots know tensors only")


def test_there_is_no_cycle(imports, none):
    graph = {}
    for _, importer, module, _ in imports:
        graph.setdefault(importer, set()).add(module)
    cycles = []
    while cycle := a_cycle(graph):
        cycles.append(" <- ".join(cycle))
        graph[cycle[1]].remove(cycle[0])
    none(cycles, "modules import each other in no cycle")


def a_cycle(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_imports_are_absolute(sources, none):
    relative = [
        f"{source.path}:{node.lineno}"
        for source in sources.values()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    none(relative, "imports are absolute")


def test_a_name_is_imported_from_a_module_that_exports_it(imports, sources, none):
    hidden = [
        f"{where}: {importer} imports {name} from {module}"
        for where, importer, module, name in imports
        if module not in sources or name not in {*UNLISTED, *sources[module].public}
    ]
    none(hidden, "an imported name is in the other module's __all__")


def test_no_private_name_is_imported(imports, none):
    """A private module is for its own folder."""
    private = []
    for where, importer, module, name in imports:
        folder, _, last = module.rpartition(".")
        if is_private(name or "") or (is_private(last) and not importer.startswith(folder)):
            private.append(f"{where}: {importer} imports {name or last} from {module if name else folder}")
    none(private, "private names stay in their module")


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


def test_what_is_exported_is_there(modules, none):
    missing = [
        f"{name}: {public}"
        for name, module in modules.items()
        for public in getattr(module, "__all__", [])
        if not hasattr(module, public)
    ]
    none(missing, "a name in __all__ is in the module")


def test_no_script_hides_a_module(none):
    """`python benchmarks/X.py` puts the folder first on the path: a script `coverage.py` there broke numba."""
    scripts = [path for folder in SCRIPTS for path in (Path(__file__).parents[2] / folder).glob("[!_]*.py")]
    path = [entry for entry in sys.path if Path(entry).name not in SCRIPTS]
    outside = [one for one in scripts if one.stem in sys.stdlib_module_names or PathFinder.find_spec(one.stem, path)]
    none([one.name for one in outside], "a script has a name that no module outside has")
