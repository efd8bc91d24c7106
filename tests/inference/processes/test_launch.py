"""The ways to start processes: torchrun and `fabric run` with a script as it is, and `devices=2`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORK = Path(__file__).with_name("work.py")

SCRIPT = """
import os
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("work", {work!r})
work = module_from_spec(spec)
spec.loader.exec_module(work)
history = work.trained("vae"{options})[0]
line = f"process {{work.current().rank}} of {{work.current().size}} {{history['elbo'][-1]}}"
os.write(1, (line + chr(10)).encode())  # at once, so that the lines of two processes do not mix
"""


def run(*command):
    """What a command prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def same_result(printed):
    """Both processes are there, and have the same result."""
    lines = sorted(line.split() for line in printed.splitlines() if line.startswith("process"))
    assert [line[:4] for line in lines] == [["process", "0", "of", "2"], ["process", "1", "of", "2"]]
    assert lines[0][4] == lines[1][4]


@pytest.mark.slow
def test_devices_start_the_script_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(work=str(WORK), options=", devices=2"))
    same_result(run(sys.executable, script))


@pytest.mark.slow
def test_fabric_run_starts_a_script_as_it_is(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(work=str(WORK), options=""))
    fabric = "from lightning_fabric.cli import _main; _main()"
    same_result(run(sys.executable, "-c", fabric, "run", "--accelerator", "cpu", "--devices", 2, script))


@pytest.mark.slow
def test_torchrun_starts_an_example_as_it_is(tmp_path):
    """Process 0 alone prints and writes; the table is there once."""
    example = Path(__file__).parents[3] / "examples" / "vae.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, example]
    flags = ["--epochs", 1, "--hidden", 20, "--quiet", "--device", "cpu", "--out", tmp_path / "run"]
    assert run(*command, *flags).count("results are in") == 1
    assert (tmp_path / "run" / "summary.json").is_file()
    assert (tmp_path / "run" / "checkpoint.pt").is_file()
