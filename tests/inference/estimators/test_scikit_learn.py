"""Without scikit-learn the estimators say what to install, and nothing else needs it."""

import subprocess
import sys
from importlib import import_module

import pytest

from pyrovae import inference
from pyrovae.errors import MissingExtraError


@pytest.mark.parametrize("name", ["VAEDetector", "VAEImputer", "VAESynthesizer", "VAETransformer"])
def test_without_scikit_learn_it_says_what_to_install(name, monkeypatch, says):
    for module in [n for n in sys.modules if n.startswith("pyrovae.inference.estimators.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "sklearn.base", None)  # as if it were not there
    with says(MissingExtraError, "scikit-learn", "pip install 'pyrovae[data]'"):
        getattr(inference, name)


def test_the_room_alone_imports_no_scikit_learn():
    code = "import sys, pyrovae.inference.estimators; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_the_estimators_are_where_inference_says():
    assert inference.VAEDetector is import_module("pyrovae.inference.estimators.detector").VAEDetector
