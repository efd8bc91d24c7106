"""The index of the examples: every example says what it shows, its data and its time."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyrovae.gallery import example_names, examples

FOLDER = Path(__file__).parents[2] / "examples"


def test_every_script_is_in_the_index():
    scripts = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
    assert len(scripts) >= 15
    assert example_names() == scripts == [one.name for one in examples()]


@pytest.mark.parametrize("one", examples(), ids=lambda one: one.name)
def test_an_example_says_what_it_shows(one):
    assert one.shows.endswith(".")
    assert one.offline, "without flags, an example needs no network"
    assert one.data
    assert re.fullmatch(r"(\d+ (s|min) of one core)?", one.time)
    assert (one.commands[0][0], bool(one.commands[0][1])) == ("", True)
    assert "python" not in str(one.commands)


def test_a_command_over_two_lines_is_one_command():
    (flows,) = (one for one in examples() if one.name == "flows")
    flags, comment = flows.commands[-1]
    assert flags.startswith("--minutes 10 --data mnist")
    assert flags.endswith("--evaluate 0 --num-samples 5000")
    assert comment == "equal training time for each"


def test_the_index_imports_no_torch():
    code = "import sys, pyrovae.gallery as g; assert g.examples(); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
