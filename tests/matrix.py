"""Run the fast tests with the lowest and the newest versions that setup.cfg allows, and write docs/matrix.md.

python tests/matrix.py                                       lowest on Python 3.11, newest on 3.13
python tests/matrix.py lowest:python3.11 newest:python3.12   environments of your own choice
python tests/matrix.py --tests "tests/models tests/guides"   some of the tests

Each environment gets the wheel in dist/ and what the tests need, one environment at a time: one takes about 7 GB. The
tests are those of the sdist in dist/, unpacked elsewhere, and see the installed package.
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
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "matrix.md"
SHOWN = ("torch", "pyro-ppl", "numpy", "matplotlib", "scikit-learn", "arviz")
"""The packages whose versions the table shows."""

HEAD = f"""# Versions that were tried

`make matrix` makes an environment for each row, installs the wheel there, and runs the fast tests. "Lowest" takes the
lowest version of each package that `setup.cfg` allows, "newest" what pip chooses.

| versions | Python | {" | ".join(SHOWN)} | tests | result | time |
|---|---|{"---|" * len(SHOWN)}---|---|---|
"""


EXTRAS = ("data", "inspect", "hub", "export")
"""The extras whose code is tested."""


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("rows", nargs="*", default=["lowest:python3.11", "newest:python3.13"], help="VERSIONS:PYTHON")
    p.add_argument("--tests", default="tests", help="which tests to run")
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
    """The last line of pytest, in the unpacked sdist, whose sources are kept out of the import path."""
    (sdist,) = (ROOT / "dist").glob("*.tar.gz")
    safe = os.environ | {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (sources,) = Path(folder).iterdir()
        line = [environment / "bin" / "python", "-m", "pytest", "-n", workers, "-m", "not slow", *tests.split()]
        done = subprocess.run(line, cwd=sources, env=safe, capture_output=True, text=True)
    log = environment.parent / f"{environment.name}.log"
    log.write_text(done.stdout + done.stderr)
    print(done.stdout[-3000:], f"the whole output is in {log}", flush=True)
    return (done.stdout.strip() or done.stderr.strip()).splitlines()[-1].strip("= ")[:200]


def installed(environment):
    """The version of each package that the table shows."""
    code = f"from importlib.metadata import version\nprint(*map(version, {SHOWN!r}))"
    done = subprocess.run([environment / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def row(versions, python, flags):
    """One row of the table."""
    environment = ROOT / "build" / "matrix" / f"{versions}-{Path(python).name}"
    shutil.rmtree(environment, ignore_errors=True)
    start = time.monotonic()
    try:
        install(versions, python, environment)
        name = subprocess.run([environment / "bin" / "python", "--version"], capture_output=True, text=True).stdout
        result = run_tests(environment, flags.tests, flags.workers)
        found = [versions, name.split()[-1], *installed(environment), flags.tests, result]
    finally:
        if not flags.keep:
            shutil.rmtree(environment, ignore_errors=True)
    return "| " + " | ".join([*found, f"{time.monotonic() - start:.0f} s"]) + " |\n"


def main():
    """Try each row, and write the page; the exit status is 1 where a test failed."""
    flags, text = arguments(), HEAD
    for one in flags.rows:
        versions, _, python = one.partition(":")
        text += row(versions, python or "python3", flags)
        PAGE.write_text(text)
    print(text)
    return int(" failed" in text or " error" in text)


if __name__ == "__main__":
    sys.exit(main())
