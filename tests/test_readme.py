"""The README tells the truth: its code runs, its commands run, its files exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.split("#")[0].strip() for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
SMALL = "--quiet --epochs 1 --evaluate 20 --num-samples 25 --no-compile --out"


RUN = "runs/vae"  # what `make demo` makes


def run(words):
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run folder as `make demo` leaves it, made small."""
    folder = str(tmp_path_factory.mktemp("runs") / "vae")
    run(["examples/vae.py", *SMALL.split(), folder])
    return folder


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python") and RUN not in c])
def test_example_commands_run(command, tmp_path):
    words = command.split()[1:]
    run(words if "--help" in words else [*words, *SMALL.split(), str(tmp_path)])


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python") and RUN in c])
def test_commands_on_the_run_of_the_demo(command, made):
    run([word.replace(RUN, made) for word in command.split()[1:]])
    assert (Path(made) / "report.html").is_file()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make")])
def test_make_targets_exist(command):
    done = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_command_is_left_untested():
    assert all(command.startswith(("python", "make")) for command in COMMANDS if command)


def test_the_pair_of_ones_own_runs_as_printed(tmp_path):
    (code,) = (text for kind, text in BLOCKS if kind == "python")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(r"log_evidence +-\d+\.\d\d ± \d\.\d\d", done.stdout)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_import_is_light_and_changes_no_global_state():
    code = """
import logging, sys, pyro, torch
pyro.settings.set(module_local_params=False)
before = pyro.settings.get(), torch.get_rng_state(), len(logging.root.handlers), torch.get_default_dtype()
import pyrovae
import pyrovae.inference
after = pyro.settings.get(), torch.get_rng_state(), len(logging.root.handlers), torch.get_default_dtype()
assert before[0] == after[0] and torch.equal(before[1], after[1]) and before[2:] == after[2:]
assert len(pyro.get_param_store()) == 0
heavy = {"matplotlib", "torchvision", "sklearn", "mlxtend", "pandas", "arviz", "lightning", "tensorboard"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
