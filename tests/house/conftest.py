"""The sources of the package, parsed and imported, for the tests of the rules in CONTRIBUTING.md."""

import ast
import inspect
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "pyrovae": "pyrovae",
    "models": "pyrovae.models",
    "guides": "pyrovae.guides",
    "inference": "pyrovae.inference",
    "examples": "pyrovae.examples",
    "benchmarks": "benchmarks",
}


class Source(NamedTuple):
    """One file: its path from the repository's root, and its syntax tree."""

    path: str
    tree: ast.Module

    @property
    def public(self) -> list[str]:
        """The names in `__all__`; a test checks that it is a plain list."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return ast.literal_eval(node.value)
        return []


@pytest.fixture(scope="session")
def sources():
    """Every file of the package, its examples and its benchmarks, by the name under which it is imported."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            found[name] = Source(str(path.relative_to(ROOT)), ast.parse(path.read_text()))
    return found


@pytest.fixture(scope="session")
def modules(sources):
    """The modules of the package, imported, without scripts; those of extras that are not installed are left out."""
    found = {}
    for name in sources:
        if not name.startswith(("pyrovae.examples", "benchmarks")) and not name.endswith("__main__"):
            try:
                found[name] = import_module(name)
            except ModuleNotFoundError as error:
                if str(error.name).startswith("pyrovae"):
                    raise
    return found


@pytest.fixture(scope="session")
def classes(modules):
    """Every class that a module of the package defines."""
    return [
        value
        for name, module in modules.items()
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == name
    ]


@pytest.fixture(scope="session")
def none():
    """Fails with all violations of a rule at once, one a line."""

    def none(violations, rule):
        found = sorted(violations)
        if found:
            pytest.fail(f"{rule}; {len(found)} violations:\n" + "\n".join(found), pytrace=False)

    return none
