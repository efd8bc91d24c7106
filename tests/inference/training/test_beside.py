"""Training that compiles beside: the same seed gives the same run, through a kill and a resume too."""

import subprocess

import pytest
import torch

from pyrovae.inference import SVI, fit
from pyrovae.inference.compile import compiled as module
from pyrovae.inference.compile.lowering import background
from pyrovae.inference.training import svi as svi_module

AFTER = 20


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(svi_module, "BESIDE", AFTER)


@pytest.fixture
def results(monkeypatch):
    """Graphs whose losses are rounded, so that replays can be told from steps without a graph; and their number."""
    replays = []

    class Rounded:
        def __init__(self, captured, tensors, options):
            self.captured = captured

        def cancel(self):
            pass

        def result(self):
            def replay(*inputs):
                replays.append(1)
                losses, *rest = self.captured.module(*inputs)
                return [losses.round(), *rest]

            return replay

    monkeypatch.setattr(module, "Pending", Rounded)
    monkeypatch.setattr(module, "lower", lambda *given: Rounded(*given).result())
    return replays


@pytest.fixture
def train(table_pair, split, weights):
    """Train in steps of 64 data points, 3 an epoch, and one of the last 8."""

    def run(epochs, **options):
        pair = table_pair()
        chosen = {"compile": "beside", "progress": False} | options
        history = fit(*pair, split(), epochs=epochs, batch_size=64, **chosen)
        return history.rows, weights(*pair)

    return run


@pytest.fixture(autouse=True)
def _unverified(monkeypatch):
    """`fit` verifies replays, and these would not pass."""
    graphs = svi_module.SVI._graphs

    def unverified(self, *args, **options):
        self.verify = False
        return graphs(self, *args, **options)

    monkeypatch.setattr(svi_module.SVI, "_graphs", unverified)


def test_the_graph_takes_over_at_a_fixed_step(results, train):
    train(9)
    assert len(results) == 27 - AFTER  # the last batches of 8 are rare


@pytest.mark.parametrize("stops", [(3,), (6,), (7,), (8,), (2, 5, 8)])
def test_a_resumed_run_is_the_one_that_was_not_stopped(stops, results, train, tmp_path, equal):
    rows, weights = train(9)
    for stop in stops:
        train(stop, run=tmp_path, resume=stop != stops[0])
    resumed, resumed_weights = train(9, run=tmp_path, resume=True)
    assert resumed == rows
    assert equal(resumed_weights, weights)


@pytest.fixture
def processes(monkeypatch):
    """The processes that are started, which never end by themselves."""
    started, start = [], subprocess.Popen
    monkeypatch.setattr(background, "_CODE", "import time; time.sleep(600)")
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **options: started.append(start(*args, **options)) or started[-1]
    )
    return started


def test_a_training_that_ends_before_leaves_no_process(processes, monkeypatch, train):
    monkeypatch.setattr(svi_module, "BESIDE", 100)
    train(8)
    assert len(processes) == 1
    assert processes[0].poll() is not None


def test_an_error_leaves_no_process(processes, monkeypatch, train):
    monkeypatch.setattr(svi_module, "BESIDE", 100)
    epochs = []

    def failing(optimizer):
        def rate(epoch):
            epochs.append(epoch)
            if epoch == 7:
                raise KeyboardInterrupt
            return 1.0

        return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    with pytest.raises(KeyboardInterrupt):
        train(9, scheduler=failing)
    assert len(processes) == 1
    assert processes[0].poll() is not None


def test_steps_of_svi_are_handed_over_too(results, table_pair, table):
    x = table()["x"]
    svi = SVI(*table_pair(), torch.optim.Adam, compile="beside", verify=False)
    losses = [svi.step(x) for _ in range(2 * AFTER)]
    assert SVI(*table_pair(), torch.optim.Adam).compile == "beside"
    assert [loss == round(loss) for loss in losses] == [False] * (AFTER + 1) + [True] * (AFTER - 1)
