"""Processes that end: the others say which, and the run goes on where it stopped."""

import random
import signal
import time
from pathlib import Path

import pytest
import torch

from pyrovae.inference.training.checkpoint import load

WORK = Path(__file__).with_name("work.py")

TRAIN = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
spec = spec_from_file_location("work", {work!r})
work = module_from_spec(spec)
spec.loader.exec_module(work)
folder, compile = Path(sys.argv[1]), sys.argv[2] == "compiled"
resume = (folder / "checkpoint.pt").exists()
print("begun", flush=True)
work.trained("vae", size=400, epochs=10, compile=compile, run=folder, resume=resume)
"""


@pytest.fixture
def begin(two, tmp_path):
    """Starts two processes that train in a folder."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN.format(work=str(WORK)))

    def started(folder, how):
        running = two[0](script, folder, how)
        for process in running:
            assert process.stdout.readline() == "begun\n", process.communicate()[1]
        return running

    return started


def finish(running):
    for process in running:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error


def alike(first, second):
    """Whether two states are equal, bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(alike(first[name], second[name]) for name in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(alike, first, second))
    return first == second


@pytest.mark.slow
@pytest.mark.parametrize("how", ["eager", "compiled"])
def test_the_others_name_the_process_that_was_killed(begin, how, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    started = time.monotonic()
    finish(begin(whole, how))
    taken, moments = time.monotonic() - started, random.Random(how)
    for victim in (1, 0, 1):
        running = begin(killed, how)
        time.sleep(moments.uniform(0.3, 0.6) * taken)
        running[victim].send_signal(signal.SIGKILL)
        at = time.monotonic()
        _, error = running[1 - victim].communicate(timeout=60)
        running[victim].communicate()
        if running[1 - victim].returncode == 0:  # the training was over
            break
        assert time.monotonic() - at < 60
        assert f"ProcessError: Process {victim} of 2 (number {running[victim].pid}" in error
        assert "was killed or crashed" in error
        assert "resume=True" in error
    finish(begin(killed, how))
    assert alike(*(load(folder / "checkpoint.pt") | {"seconds": 0} for folder in (killed, whole)))


@pytest.mark.slow
def test_a_process_that_fails_alone_is_named_with_its_error(two, tmp_path):
    script = tmp_path / "fails.py"
    script.write_text(
        TRAIN.format(work=str(WORK)).replace(
            "print(", "import os\nif os.environ['RANK'] == '1': work.Binarize.__call__ = lambda *_: 1 / 0\nprint("
        )
    )
    running = two[0](script, tmp_path / "run", "eager")
    errors = [process.communicate(timeout=300)[1] for process in running]
    assert "ZeroDivisionError" in errors[1]
    assert "ProcessError: Process 1 of 2 failed: ZeroDivisionError" in errors[0]
