"""Packages that are imported where they are used, and the error for a missing one."""

import sys

import pytest

from pyrovae.errors import MissingExtraError
from pyrovae.imports import imported


def test_a_module_by_its_full_name():
    assert imported("json.decoder", "This test requires", "nothing").__name__ == "json.decoder"


@pytest.mark.parametrize("module", ["sklearn", "sklearn.datasets", "no_such_package.part"])
def test_a_missing_package_is_named_with_what_to_install(module, monkeypatch, says):
    monkeypatch.setitem(sys.modules, module, None)
    package = module.partition(".")[0]
    with says(MissingExtraError, f"This test requires {package}, which is not", "Write pip install 'pyrovae[data]'."):
        imported(module, "This test requires", "pyrovae[data]")
