"""Kills at random moments, by any signal, of trainings of any kind: a resume ends as the run that was not killed."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyrovae.inference.training.checkpoint import load

TRAIN = """
import sys
from functools import partial
from pathlib import Path
import torch
from pyrovae.inference import ELBO, Linear, fit

sys.path.insert(0, {shared!r})
from built_pairs import PAIRS

folder, kind = Path(sys.argv[1]), sys.argv[2]
torch.manual_seed(0)
model, guide, batch, _ = PAIRS[kind]()
rows = torch.arange(400) % len(next(iter(batch.values())))
data = {{name: tensor[rows] for name, tensor in batch.items()}}
options = {{}}
if kind == "normal-learned":  # with everything that has a state
    scheduler = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9)
    options = {{"average": 0.7, "patience": 100, "scheduler": scheduler, "clip_norm": 5.0, "valid": batch}}
    options["loss"] = ELBO(kl_weight=Linear(0.0, 1.0, 100))
print("begun", flush=True)
fit(model, guide, data, epochs=8, batch_size=40, progress=False, compile=False,
    run=folder, resume=(folder / "checkpoint.pt").exists(), **options)
"""

KINDS = ["normal-learned", "deep-markov", "text-lstm", "semi-supervised", "ladder-top-down"]
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


def begin(folder, kind):
    """Start a training, and wait until it trains."""
    code = TRAIN.format(shared=str(Path(__file__).parents[2] / "shared"))
    command = [sys.executable, "-P", "-c", code, str(folder), kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n", process.communicate()[1]
    return process


def finish(process):
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error


def files_of(folder):
    return {name: (folder / name).read_bytes() for name in ("metrics.csv", "metrics.json", "config.json")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_kills(kind, tmp_path, same_state, state_of):
    """Eight kills of each kind of training; five kinds make forty."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    started = time.monotonic()
    finish(begin(whole, kind))
    moments, taken = random.Random(kind), time.monotonic() - started
    for number in range(8):
        process = begin(killed, kind)
        time.sleep(moments.uniform(0, taken / 4))
        process.send_signal(SIGNALS[number % 3])
        process.communicate()
    finish(begin(killed, kind))
    assert same_state(state_of(killed), state_of(whole))
    assert files_of(killed) == files_of(whole)
    assert not [p.name for p in killed.iterdir() if p.name.startswith(".") and p.name != ".lock"]


@pytest.mark.slow
def test_kills_in_the_middle_of_a_write(tmp_path, monkeypatch):
    """A process is killed before each system call of a checkpoint and its metrics; what is left is whole."""
    code = """
import os, sys
from pathlib import Path
import torch
from pyrovae.inference.training import checkpoint
from pyrovae.inference.training.history import History
from pyrovae.inference.training.run_folder import RunFolder

count, last = 0, int(sys.argv[2])
def dying(function):
    def call(*args, **options):
        global count
        count += 1
        if count == last:
            os._exit(9)
        return function(*args, **options)
    return call
folder = RunFolder(Path(sys.argv[1]))
with folder.held():
    folder.start({"step": 0}, {}, torch.nn.Identity(), torch.nn.Identity())
    for name in ("open", "fsync", "link", "replace", "rename", "unlink"):
        setattr(os, name, dying(getattr(os, name)))
    for name in ("open", "replace", "unlink"):
        setattr(Path, name, dying(getattr(Path, name)))
    folder.save_epoch({"step": 1}, History(({"epoch": 1, "loss": 2.5},)))
print("ended")
"""

    for last in range(1, 100):
        run = tmp_path / str(last)
        done = subprocess.run([sys.executable, "-P", "-c", code, str(run), str(last)], capture_output=True, text=True)
        assert load(run / "checkpoint.pt")["step"] in (0, 1)
        if done.stdout:
            break
        assert done.returncode == 9, done.stderr
    assert last > 8
