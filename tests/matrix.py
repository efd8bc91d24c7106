"""Run fast tests with the lowest and the newest versions that setup.cfg allows, and write docs/matrix.md.

python tests/matrix.py                     lowest on Python 3.11, newest on 3.13; the tests of PARTS["part"]
python tests/matrix.py lowest              one of the two; the page keeps its row of the other
python tests/matrix.py newest:python3.12   with another Python
python tests/matrix.py --tests all         all fast tests; or paths, such as --tests "tests/models tests/guides"

Each environment gets the wheel in dist/ and what the tests need, by pip, one environment at a time: one takes about
7 GB. The tests are those of the sdist in dist/, unpacked elsewhere, and see the installed package.
"""

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "matrix.md"
SHOWN = ("torch", "pyro-ppl", "numpy", "matplotlib", "scikit-learn", "arviz")
"""The packages whose versions the table shows."""

PYTHONS = {"lowest": "python3.11", "newest": "python3.13"}
"""The Python of each row; python3 where it is missing."""

PARTS = {
    "part": "tests/test_pairs.py tests/models tests/guides tests/inference/training tests/inference/compile",
    "all": "tests",
}
"""Choices of tests by name."""

HEAD = f"""# Versions that were tried

`make matrix` writes this page. For each row it makes an environment with pip, installs the wheel there, and runs fast
tests. "Lowest" takes the lowest version of each package that `setup.cfg` allows, "newest" what pip chooses. "Part" is
the tests that depend on torch and Pyro most: models, guides, `fit`, the compiler, and the contract of every pair; "all"
is every fast test (`make matrix TESTS=all`). Continuous integration runs the part with the lowest versions, and all
fast tests with the newest (`make test`).

With torch 2.8 the tests of rolled loops are skipped: its `scan` gives wrong numbers, so loops over time are rolled from
torch 2.14 on.

| versions | Python | {" | ".join(SHOWN)} | tests | result | time | date |
|---|---|{"---|" * len(SHOWN)}---|---|---|---|
"""

EXTRAS = ("data", "inspect", "hub", "export")
"""The extras whose code is tested."""


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("rows", nargs="*", default=[*PYTHONS], help="lowest or newest, perhaps :PYTHON")
    p.add_argument("--tests", default="part", help="part, all, or paths")
    p.add_argument("--workers", default="auto", help="as pytest-xdist's -n")
    p.add_argument("--keep", action="store_true", help="keep the environments, in build/matrix")
    return p.parse_args()


def requirements():
    """The requirements of the package and of the extras that `dev` has."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    texts = [settings["options"]["install_requires"], *(settings["options.extras_require"][extra] for extra in EXTRAS)]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("#", "pyrovae["))]


def lowest(lines):
    """The requirements that have a lower bound, at that bound."""
    found = (re.match(r"([\w-]+)\s*>=([\d.]+)", line) for line in lines)
    return [f"{one[1]}=={one[2]}" for one in found if one]


def install(versions, python, environment):
    """Make an environment with the wheel and what the tests need."""
    (wheel,) = (ROOT / "dist").glob("*.whl")
    subprocess.run([python, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    pinned = lowest(requirements()) if versions == "lowest" else []
    subprocess.run([*pip, f"{wheel}[dev]", *pinned], check=True)


def run_tests(environment, tests, workers):
    """The last line and the status of pytest, in the unpacked sdist, whose sources are kept out of the import path."""
    (sdist,) = (ROOT / "dist").glob("*.tar.gz")
    safe = os.environ | {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (sources,) = Path(folder).iterdir()
        line = [environment / "bin" / "python", "-m", "pytest", "-n", workers, "-m", "not slow"]
        line += PARTS.get(tests, tests).split()
        done = subprocess.run(line, cwd=sources, env=safe, capture_output=True, text=True)
    log = environment.parent / f"{environment.name}.log"
    log.write_text(done.stdout + done.stderr)
    print(done.stdout[-3000:], f"the whole output is in {log}", flush=True)
    return (done.stdout.strip() or done.stderr.strip()).splitlines()[-1].strip("= ")[:200], done.returncode


def installed(environment):
    """The version of each package that the table shows."""
    code = f"from importlib.metadata import version\nprint(*map(version, {SHOWN!r}))"
    done = subprocess.run([environment / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def tried(versions, python, flags):
    """One row of the table, and whether its tests passed."""
    environment = ROOT / "build" / "matrix" / f"{versions}-{Path(python).name}"
    shutil.rmtree(environment, ignore_errors=True)
    start = time.monotonic()
    try:
        install(versions, python, environment)
        name = subprocess.run([environment / "bin" / "python", "--version"], capture_output=True, text=True).stdout
        result, status = run_tests(environment, flags.tests, flags.workers)
        cells = [versions, name.split()[-1], *installed(environment), flags.tests, result]
    finally:
        if not flags.keep:
            shutil.rmtree(environment, ignore_errors=True)
    return "| " + " | ".join([*cells, f"{time.monotonic() - start:.0f} s", str(date.today())]) + " |", status == 0


def rows(text):
    """The rows of a page by their first column."""
    return {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith(("| lowest", "| newest"))}


def main():
    """Try each row, and write the page; the exit status is 1 where a test failed."""
    flags, good = arguments(), True
    found = rows(PAGE.read_text())
    for one in flags.rows:
        versions, _, python = one.partition(":")
        python = python or PYTHONS[versions]
        found[versions], passed = tried(versions, shutil.which(python) or "python3", flags)
        good = good and passed
        PAGE.write_text(HEAD + "".join(f"{found[name]}\n" for name in sorted(found)))
    print(PAGE.read_text())
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
