"""A torch that lacks a private name: everything runs eagerly, with one warning that names it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyrovae.imports import lacking, private

HIDDEN = [
    "torch._guards",
    "torch._ops",
    "torch._subclasses.fake_tensor",
    "torch.distributed._functional_collectives",
    "torch.distributed.distributed_c10d",
    "torch.fx.experimental.proxy_tensor",
    "torch.fx.experimental.symbolic_shapes",
    "torch.utils._python_dispatch",
    "torch.utils._pytree",
]

CODE = """
import importlib, sys, warnings
import torch

hidden, found = set(sys.argv[1:]), importlib.import_module

def import_module(name, package=None):
    if name in hidden:
        raise ModuleNotFoundError(name)
    return found(name, package)

importlib.import_module = import_module
from pyrovae.guides import NormalGuide
from pyrovae.inference import Annealing, annealed, evaluate, fit, posterior
from pyrovae.inference.compile import EagerWarning
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks import MLP

def trained(compile):
    torch.manual_seed(0)
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(3, "learned"), MLP(2, (3,), [4]))
    guide, data = NormalGuide(MLP((3,), 4, [4])), {"x": torch.randn(60, 3)}
    options = dict(valid=data, average=0.5, epochs=2, batch_size=20, compile=compile, progress=False)
    rows = fit(model, guide, data, **options).rows
    drawn = posterior(model, guide, data, 2).latents["z"].tolist()
    chains = annealed(model, guide, data, Annealing(num_chains=2, num_temperatures=3), compile=compile).log_evidence
    return rows, evaluate(model, guide, data, compile=compile, num_samples=20).elbo, drawn, chains

eager = trained(False)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    assert trained(True) == eager
eagerly = [str(warning.message) for warning in seen if issubclass(warning.category, EagerWarning)]
assert eagerly and all(any(name in message for name in hidden) for message in eagerly), eagerly
assert len(eagerly) <= 3, eagerly  # the training's, the evaluation's and the chains'
print(eagerly[0])
"""


def hide(*names):
    done = subprocess.run([sys.executable, "-P", "-c", CODE, *names], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "Runs eagerly, not compiled: torch " in done.stdout


def test_without_any_private_module_everything_runs_eagerly():
    hide(*HIDDEN)


@pytest.mark.slow
@pytest.mark.parametrize("name", HIDDEN)
def test_without_a_private_module_everything_runs_eagerly(name):
    hide(name)


def test_each_module_that_is_imported_privately_is_hidden_here():
    found = {name for path in sources() for name in re.findall(r"\bprivate\(\"([\w.]+)\"", path.read_text())}
    assert found == set(HIDDEN)


def test_a_private_name_that_is_there_is_itself(monkeypatch):
    monkeypatch.setattr("pyrovae.imports._LACKING", [])
    import torch.utils._pytree as pytree

    assert private("torch.utils._pytree") is pytree
    assert private("torch.utils._pytree", "tree_map") is pytree.tree_map
    assert lacking() == ()


def test_a_private_name_that_is_missing_is_a_base_class_and_raises_when_used(monkeypatch):
    monkeypatch.setattr("pyrovae.imports._LACKING", [])
    module, name = private("torch._gone"), private("torch", "_gone")
    assert lacking() == ("torch._gone", "torch._gone")

    class Mode(name):
        pass

    assert not isinstance(3, name)
    for use in (lambda: module.function, lambda: Mode.attribute, Mode, name):
        with pytest.raises(ImportError, match=r"this torch has no torch\._gone"):
            use()


def test_private_modules_of_torch_are_imported_by_private_or_inside_functions():
    """An import at the head of a module would make a torch that lacks the name an ImportError of ours."""
    found = []
    for path in sources():
        if path.name == "cpp.py":  # which is imported inside a function itself
            continue
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            full = [f"{getattr(node, 'module', '') or ''}.{name}".strip(".") for name in names]
            found += [f"{path}: {name}" for name in full if is_private(name)]
    assert found == []


def sources():
    """The files of the package."""
    folders = [Path(__file__).parents[2] / name for name in ("pyrovae", "models", "guides", "inference")]
    return [path for folder in folders for path in folder.rglob("*.py")]


def is_private(name):
    first, *rest = name.split(".")
    return first == "torch" and ("experimental" in rest or any(part.startswith("_") for part in rest))
