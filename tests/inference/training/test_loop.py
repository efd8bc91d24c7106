"""The loop: resumable bit for bit, from any kill."""

import math
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pyro
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.examples import _shared as cli
from pyrovae.inference.training import loop
from pyrovae.inference.training.checkpoint import load, save


def test_a_schedule_steps_once_per_epoch(table_pair, table, quick):
    model, guide = table_pair()
    decay = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    history = quick(model, guide, table(), epochs=3, scheduler=decay)
    assert history["lr"] == pytest.approx([1e-3, 5e-4, 2.5e-4])


@pytest.mark.parametrize("options", [{}, {"average": 0.5}, {"average": 0.9, "patience": 3}])
def test_resuming_continues_bit_for_bit(options, tmp_path, table_pair, split, weights, equal, quick):
    model, guide = table_pair()
    through = quick(model, guide, split(), epochs=4, **options)
    first = table_pair()
    quick(*first, split(), epochs=2, run=tmp_path, **options)
    second = table_pair(seed=8)
    resumed = quick(*second, split(), epochs=4, run=tmp_path, resume=True, **options)
    assert resumed.rows == through.rows
    assert equal(weights(*second), weights(model, guide))


def test_a_schedule_that_looks_at_the_validation(table_pair, split, quick):
    """The rate falls after two epochs that are worse than the best one."""
    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, factor=0.5, patience=1)
    history = quick(*table_pair(), split(), epochs=12, optim=partial(torch.optim.Adam, lr=0.3), scheduler=plateau)
    best, bad, rate, expected = -math.inf, 0, 0.3, []
    for elbo in history["elbo"]:
        expected.append(rate)
        better = elbo > best + 1e-4 * abs(best) if math.isfinite(best) else True
        best, bad = (elbo, 0) if better else (best, bad + 1)
        if bad > 1:
            rate, bad = rate / 2, 0
    assert history["lr"] == pytest.approx(expected)
    assert len(set(expected)) > 1
    assert (
        len(quick(*table_pair(), split().train, epochs=3, scheduler=plateau).rows) == 3
    )  # the loss, without such data


def test_an_interrupt_in_the_last_validation_is_not_swallowed(monkeypatch, tmp_path, table_pair, split, quick):
    validate, signals = loop.evaluate, [signal.SIGINT]

    def interrupted(*args, **options):
        if signals:  # once: a second Ctrl-C would end the training at once
            signal.raise_signal(signals.pop())
        return validate(*args, **options)

    monkeypatch.setattr(loop, "evaluate", interrupted)
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt, match=r"stopped after epoch 1; resume=True"):
            quick(*table_pair(), split(), epochs=1, run=tmp_path)
    finally:
        signal.signal(signal.SIGINT, old)
    assert len(load(tmp_path / "checkpoint.pt")["history"]["rows"]) == 1


def test_the_time_of_training_goes_on(tmp_path, table_pair, table, quick):
    first = quick(*table_pair(), table(), epochs=1, run=tmp_path)
    assert 0 < load(tmp_path / "checkpoint.pt")["seconds"] <= first.seconds
    state = load(tmp_path / "checkpoint.pt")
    save(tmp_path / "checkpoint.pt", state | {"seconds": 1000.0})
    assert 1000 < quick(*table_pair(), table(), epochs=2, run=tmp_path, resume=True).seconds < 2000


@pytest.mark.parametrize("first", [1, 2, 4])
def test_a_resumed_cosine_is_that_of_all_epochs(first, tmp_path, table_pair, table, quick):
    quick(*table_pair(), table(), epochs=first, scheduler=cli.schedule("cosine", first), run=tmp_path)
    resumed = quick(*table_pair(), table(), epochs=6, scheduler=cli.schedule("cosine", 6), run=tmp_path, resume=True)
    rates = [1e-3 * (1 + math.cos(math.pi * epoch / 6)) / 2 for epoch in range(6)]
    assert [row["lr"] for row in resumed.rows[first:]] == pytest.approx(rates[first:], abs=1e-12)


TRAIN = """
import sys, torch
from functools import partial
from pathlib import Path
sys.path.insert(0, {here!r})
from conftest import split, table_pair
from pyrovae.inference import fit
from pyrovae.inference.training import svi
svi.BESIDE = 100
folder = Path(sys.argv[1])
model, guide = table_pair()
scheduler = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.99)
fit(model, guide, split(2000), epochs={epochs}, batch_size=50, progress=False, compile={compile!r},
    scheduler=scheduler, patience=1000, average=0.7, run=folder, resume=(folder / "checkpoint.pt").exists())
"""


def train(folder, *, epochs=6, compile=False):
    code = TRAIN.format(here=str(Path(__file__).parent), epochs=epochs, compile=compile)
    return subprocess.Popen([sys.executable, "-P", "-c", code, str(folder)], stderr=subprocess.PIPE, text=True)


def finish(process):
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error


def wait_for_change(file, process, times):
    seen, last = 0, None
    while seen < times and process.poll() is None:
        stamp = file.stat().st_mtime_ns if file.exists() else None
        seen, last = seen + (stamp != last), stamp
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("compile", "kills"),
    [(False, 3), pytest.param(True, 6, marks=pytest.mark.slow), pytest.param("beside", 6, marks=pytest.mark.slow)],
    ids=["eager", "compiled", "beside"],
)
def test_a_run_killed_at_random_moments_ends_as_one_that_was_not(tmp_path, compile, kills, same_state, state_of):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(train(whole, compile=compile))
    moments = random.Random(0)
    for _ in range(kills):
        process = train(killed, compile=compile)
        wait_for_change(killed / "checkpoint.pt", process, moments.randint(1, 2))
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        process.communicate()
    finish(train(killed, compile=compile))
    assert same_state(state_of(killed), state_of(whole))
    assert (killed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_ctrl_c_ends_the_step_and_leaves_a_checkpoint_that_resumes(tmp_path, same_state, state_of):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    process = train(stopped, epochs=1000)
    wait_for_change(stopped / "checkpoint.pt", process, 3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert "KeyboardInterrupt: stopped after " in error
    assert "resume=True" in error
    state = load(stopped / "checkpoint.pt")
    done = len(state["history"]["rows"])
    assert len(state["losses"]) <= 40
    finish(train(stopped, epochs=done + 1))
    finish(train(whole, epochs=done + 1))
    assert same_state(state_of(stopped), state_of(whole))


# ------------------------------------------------------------------------------------------------- the bar


class Bar:
    """Notes what a bar is told."""

    def __init__(self):
        self.said, self.count = [], 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def update(self, count):
        self.count += count

    def set_postfix_str(self, text, refresh=True):
        self.said.append(text)


@pytest.mark.parametrize("compile", [True, False])
def test_the_bar_says_that_the_step_is_compiled(compile, monkeypatch, captured_only, table_pair, table, quick):
    """Once for each size of a batch, here 64 and the last 8 of 200; then the loss takes its place."""
    bar, asked = Bar(), []
    monkeypatch.setattr(loop, "progress_bar", lambda *options: asked.append(options) or bar)
    quick(*table_pair(), table(), epochs=2, compile=compile, progress=True)
    assert asked == [(True, 8, "step", 0)]
    assert bar.count == 8
    compiling = [i for i, text in enumerate(bar.said) if text == "compiling the step"]
    assert len(compiling) == (2 if compile else 0)
    assert all(bar.said[i + 1].startswith("loss ") for i in compiling)
    assert bar.said[-1].startswith("loss ")


def test_the_bar_shows_the_validation(monkeypatch, table_pair, split, quick):
    bar = Bar()
    monkeypatch.setattr(loop, "progress_bar", lambda *_: bar)
    history = quick(*table_pair(), split(), epochs=1)
    row = history.rows[0]
    assert bar.said[-2].endswith(" evaluating")
    validated = " ".join(f"{name} {row[name]:.2f}" for name in ("elbo", "rate", "distortion"))
    assert bar.said[-1] == f"loss {row['loss']:.2f} validation: {validated}"


def test_a_resumed_bar_starts_where_the_run_was(monkeypatch, tmp_path, table_pair, table, quick):
    asked = []
    quick(*table_pair(), table(), epochs=1, run=tmp_path)
    monkeypatch.setattr(loop, "progress_bar", lambda *options: asked.append(options) or Bar())
    quick(*table_pair(), table(), epochs=3, run=tmp_path, resume=True)
    assert asked == [(False, 12, "step", 4)]


def test_only_an_optimizer_of_torch_is_taken(table_pair, table, quick):
    optim = pyro.optim.ExponentialLR({"optimizer": torch.optim.Adam, "optim_args": {"lr": 1e-3}, "gamma": 0.9})
    with pytest.raises(PairError, match=r"fit requires a torch optimizer.*got PyroLR.*partial\(torch.optim.Adam"):
        quick(*table_pair(), table(), optim=optim)
