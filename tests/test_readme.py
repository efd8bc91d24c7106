"""The README and the catalogue tell the truth: code and commands run, files and names exist."""

import configparser
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
LINES = [line.split("#")[0].strip() for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
COMMANDS = [line for line in LINES if line]
SMALL = "--quiet --epochs 1 --evaluate 20 --num-samples 25 --no-compile --out"

RUN = "runs/vae"  # what the example vae makes
HOME = r"https://(?:github\.com/pyrovae/pyrovae/(?:blob|tree)|raw\.githubusercontent\.com/pyrovae/pyrovae)/main/"


def starting(word, *, run):
    """The commands that start with a word, and whether they are on the run of the example vae."""
    return [command for command in COMMANDS if command.startswith(f"{word} ") and (RUN in command) == run]


def run(words):
    done = subprocess.run(
        [sys.executable, "-m", "pyrovae", *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run folder as the example vae leaves it, made small."""
    folder = str(tmp_path_factory.mktemp("runs") / "vae")
    run(["vae", *SMALL.split(), folder])
    return folder


@pytest.mark.parametrize("command", starting("pyrovae", run=False))
def test_example_commands_run(command, tmp_path):
    words = command.split()[1:]
    run(words if {"--help", "list"} & {*words} else [*words, *SMALL.split(), str(tmp_path)])


@pytest.mark.parametrize("command", starting("pyrovae", run=True))
def test_commands_on_the_run_of_the_example(command, made):
    run([word.replace(RUN, made) for word in command.split()[1:]])
    page = "summary.html" if "--summary" in command else "report.html"
    assert (Path(made) / page).is_file()


@pytest.mark.parametrize("command", starting("make", run=False))
def test_make_targets_exist(command):
    done = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", starting("pip", run=False))
def test_what_is_installed_is_this_folder_with_extras_that_exist(command):
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    pip, install, target = shlex.split(command)
    assert (pip, install) == ("pip", "install")
    folder, extras = re.fullmatch(r"(.*?)\[(.*)\]", target).groups()
    assert folder == "."
    assert set(extras.split(",")) <= set(settings["options.extras_require"])


def test_no_command_is_left_untested():
    tested = [*starting("pyrovae", run=False), *starting("pyrovae", run=True)]
    tested += [*starting("make", run=False), *starting("pip", run=False)]
    assert sorted(tested) == sorted(COMMANDS)


def test_the_pair_in_the_readme_runs_as_printed(tmp_path):
    (code,) = (text for kind, text in BLOCKS if kind == "python")
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(r"log_evidence +-\d+\.\d+ ± \d\.\d+", done.stdout)


def anchors(page):
    """The addresses of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Links to this repository are checked in this folder."""
    for home, target, anchor in re.findall(rf"\]\(({HOME})?(?!http)([^)#]*)#?([^)]*)\)", page.read_text()):
        goal = (ROOT if home else page.parent) / target if target else page
        assert goal.exists(), target
        assert not anchor or anchor in anchors(goal), (target, anchor)


def test_links_of_the_readme_work_on_a_package_index():
    assert not re.findall(r"\]\((?!https://)", README)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_imports_in_the_pages_work(page):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec("\n".join(re.findall(r"^from pyrovae\S* import .*$", code, re.MULTILINE)), {})


def test_the_catalogue_names_what_exists():
    sections = re.split(r"^## .*`(pyrovae[\w.]*)`$", (ROOT / "docs" / "catalogue.md").read_text(), flags=re.MULTILINE)
    for module, text in zip(sections[1::2], sections[2::2], strict=True):
        rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        assert rows, module
        for name in re.findall(r"`(\w+)`", " ".join(rows)):
            assert hasattr(import_module(module), name), f"{module}.{name}"


@pytest.mark.parametrize("room", ["inference", "data", "plots"])
def test_every_function_is_in_the_catalogue(room):
    catalogue = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "catalogue.md").read_text()))
    module = import_module(f"pyrovae.{room}")
    functions = {name for name in module.__all__ if name[0].islower() and callable(getattr(module, name))}
    assert not functions - catalogue


def test_import_is_light_and_changes_no_global_state():
    code = """
import logging, sys, pyro, torch
pyro.settings.set(module_local_params=False)
before = pyro.settings.get(), torch.get_rng_state(), len(logging.root.handlers), torch.get_default_dtype()
import pyrovae
import pyrovae.inference
import pyrovae.plots
after = pyro.settings.get(), torch.get_rng_state(), len(logging.root.handlers), torch.get_default_dtype()
assert before[0] == after[0] and torch.equal(before[1], after[1]) and before[2:] == after[2:]
assert len(pyro.get_param_store()) == 0
heavy = {"matplotlib", "torchvision", "PIL", "sklearn", "mlxtend", "pandas", "arviz"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
