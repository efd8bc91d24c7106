"""What the tests of benchmarks share."""

from importlib import import_module
from pathlib import Path

import pytest


@pytest.fixture
def load_script(monkeypatch):
    """Imports a benchmark by its name, with its folder on the path, as when it runs."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return import_module
