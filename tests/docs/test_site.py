"""The site is complete: every public name, every example, and no name or link that leads nowhere."""

import re
import subprocess
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FunctionType, ModuleType
from urllib.parse import urlparse

import pytest

import pyrovae
from pyrovae.gallery import example_names

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
REFERENCE = "\n".join(page.read_text() for page in sorted((DOCS / "reference").glob("*.md")))
DOCUMENTED = re.findall(r"^\.\. auto(?:class|function|data|exception):: (\S+)$", REFERENCE, re.MULTILINE)


def extension(name):
    """A module of the site's own extensions."""
    spec = spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ROOMS = extension("public_names").ROOMS


def resolve(name):
    module, _, last = name.rpartition(".")
    return getattr(import_module(module), last)


def public(room):
    module = import_module(room)
    return {
        name: getattr(module, name)
        for name in (*module.__all__, *getattr(module, "_ESTIMATORS", ()))
        if not isinstance(getattr(module, name), ModuleType) and name != "__version__"
    }


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_in_the_reference(room):
    documented = [resolve(name) for name in DOCUMENTED]

    def found(name, value):
        """A class or a function may be documented in another room that exports it too."""
        one = isinstance(value, type | FunctionType) and any(value is other for other in documented)
        return one or f"{room}.{name}" in DOCUMENTED

    assert not [name for name, value in public(room).items() if not found(name, value)]


def test_every_public_room_is_in_the_reference():
    rooms = {f"pyrovae.{name}" for name in pyrovae.__all__ if isinstance(getattr(pyrovae, name), ModuleType)}
    assert rooms
    assert rooms <= set(ROOMS)


def test_no_name_is_twice_in_the_reference():
    assert len(DOCUMENTED) == len(set(DOCUMENTED))


def test_the_names_in_llms_txt_exist():
    text = (DOCS / "llms.txt").read_text()
    names = re.findall(r"`(pyrovae\.[\w.]+)`", text)
    assert len(names) > 40
    for name in names:
        resolve(name)
    for target in re.findall(r"\]\((\S+)\.html\)", text):
        assert (DOCS / f"{target}.md").is_file(), target
    (program,) = re.findall(r"((?:^    .*\n|^\n)+)(?=^## Names)", text, re.MULTILINE)
    compile(re.sub(r"^    ", "", program, flags=re.MULTILINE), "llms.txt", "exec")


def test_every_example_is_in_the_gallery():
    shown = re.findall(r"^```\{example\} (\w+)$", (DOCS / "gallery.md").read_text(), re.MULTILINE)
    assert sorted(shown) == example_names()


def test_pictures_are_there_and_small():
    pictures = set(re.findall(r"^```\{figure\} (\S+)$", (DOCS / "gallery.md").read_text(), re.MULTILINE))
    assert pictures == {str(path.relative_to(DOCS)) for path in (DOCS / "gallery").glob("*.png")}
    assert all((DOCS / picture).stat().st_size < 60_000 for picture in pictures)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_external_links_are_well_formed(page):
    for link in re.findall(r"\]\((http[^)]*)\)", page.read_text()):
        parts = urlparse(link)
        assert parts.scheme == "https", link
        assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc), link


def test_a_formula_is_the_start_of_a_docstring():
    formulas = extension("formulas")
    text = "p(x, z) = prod_t p(z_t | z_(t-1)) Normal(x_t; loc_kd, 1), where z_0 is learned."
    found = formulas.leading_formula(text)
    assert found == "p(x, z) = prod_t p(z_t | z_(t-1)) Normal(x_t; loc_kd, 1)"
    tex = formulas.tex(found)
    assert r"\prod _{t}\,p(z_{t} \mid  z_{t-1})" in tex
    assert r"\mathrm{Normal}(x_{t}; \mathrm{loc}_{kd}, 1)" in tex
    assert formulas.leading_formula("Draw z from p(z | x).") == ""


def test_an_indented_block_of_a_docstring_is_code_or_a_formula(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    blocks = extension("blocks")
    lines = [
        "Fills gaps.",
        "",
        "    fill(frame)",
        "",
        "It is",
        "",
        "    p(x) = sum_z p(x, z)",
        "",
        "- one",
        "",
        "    x",
    ]
    blocks.show_blocks(None, "class", "pyrovae.Table", None, None, lines)
    code, formula = [".. code-block:: python", "", "   fill(frame)"], ".. math::"
    assert lines[2:5] == code
    assert formula in lines
    assert lines[-3:] == ["- one", "", "    x"]


def test_an_argument_of_one_letter_is_no_list(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    blocks, lines = extension("blocks"), ["Args:", "    size: N.", "    x: the data, N rows."]
    blocks.show_blocks(None, "class", "pyrovae.Table", None, None, lines)
    assert lines == ["Args:", r"    size: N\.", "    x: the data, N rows."]


def test_a_constant_has_the_words_below_it(monkeypatch):
    """Sphinx would show those of its type: "Convert a number or string to an integer"."""
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    blocks = extension("blocks")
    for name in re.findall(r"^\.\. autodata:: (\S+)$", REFERENCE, re.MULTILINE):
        lines = ["of its type"]
        blocks.show_constant(None, "data", name, resolve(name), None, lines)
        assert lines != ["of its type"], name


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("furo")
    options = ["-W", "-n", "--keep-going", "-q", "-D", "nb_execution_mode=off"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sphinx", *options, str(DOCS), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "llms.txt").is_file()
