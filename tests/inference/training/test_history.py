"""The history: columns, comma-separated values, and one table."""

import csv
import dataclasses

import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO

from pyrovae.errors import ColumnError
from pyrovae.inference import History
from pyrovae.models import Program

ROWS = (
    {"epoch": 1, "step": 4, "lr": 1e-3, "loss": 12.345, "elbo": -11.5},
    {"epoch": 2, "step": 8, "lr": 5e-4, "loss": 10.0, "elbo": -9.25},
)


def test_columns_by_name(says):
    assert History(ROWS)["loss"] == [12.345, 10.0]
    with pytest.raises(KeyError):
        History(ROWS)["rate"]
    with says(ColumnError, "epoch, step, lr, loss, elbo", "'rate'", "fit(..., valid=...)."):
        History(ROWS)["rate"]
    with says(ColumnError, "fit(..., valid=...), or read history['train_elbo']"):
        History(({"epoch": 1, "loss": 2.0, "train_elbo": -2.0},))["elbo"]
    with says(ColumnError, "got 'los'", "history['loss']"):
        History(ROWS)["los"]
    with says(ColumnError, "every epoch", "epochs [1]", "history.rows"):
        History(({"epoch": 1}, {"epoch": 2, "train_rate": 1.0}))["train_rate"]


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        History(ROWS).stopped = "patience"
    assert History(ROWS, 2) == History(ROWS, 2)


def test_comma_separated_values():
    rows = list(csv.DictReader(History(ROWS).csv().splitlines()))
    assert [float(row["elbo"]) for row in rows] == [-11.5, -9.25]
    assert History().csv().split() == ["epoch"]


def test_the_table():
    assert str(History(ROWS, 2, "patience")).splitlines() == [
        "epoch  step        lr   loss    elbo",
        "    1     4  1.00e-03  12.35  -11.50",
        "    2     8  5.00e-04  10.00   -9.25",
        "nats per data point; stopped by patience; the validation ELBO was highest in epoch 2",
    ]


def test_the_middle_of_a_long_table_is_left_out():
    lines = str(History(tuple({"epoch": epoch, "loss": 1.0} for epoch in range(1, 101)))).splitlines()
    assert len(lines) == 1 + 10 + 1 + 10 + 1
    assert [line.split()[0] for line in (lines[1], lines[10], lines[11], lines[12], lines[21])] == [
        "1",
        "10",
        "...",
        "91",
        "100",
    ]


def test_a_history_of_nothing():
    assert str(History()) == "epoch\nnats per data point; stopped by epochs"


def test_a_value_that_some_epochs_lack():
    """Rate and distortion of training data are left out of an epoch in which they are not finite."""
    history = History(({"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "train_rate": 0.5}))
    assert [line.split() for line in str(history).splitlines()[:3]] == [
        ["epoch", "loss", "train_rate"],
        ["1", "2.00", "-"],
        ["2", "1.00", "0.50"],
    ]
    assert history.csv().splitlines() == ["epoch,loss,train_rate", "1,2.0,", "2,1.0,0.5"]


def test_fit_returns_what_the_run_did(table_pair, split, quick):
    history = quick(*table_pair(), split(), epochs=2)
    assert isinstance(history.rows, tuple)
    names = ["epoch", "step", "lr", "loss", "train_elbo", "elbo", "rate", "distortion"]
    assert list(history.rows[0]) == [*names, "train_rate", "train_distortion"]
    assert history.best_epoch in (1, 2)
    assert history.stopped == "epochs"


def test_the_loss_of_each_step(table_pair, split, quick, tmp_path):
    """Its mean over the data points of an epoch is the loss of that epoch; a resumed run has the steps before."""
    settings = {"batch_size": 16, "run": tmp_path}
    history = quick(*table_pair(), split(), epochs=2, **settings)
    steps = history.step_losses.reshape(2, -1)
    sizes = torch.tensor([len(part) for part in torch.arange(len(split().train["x"])).split(16)], dtype=torch.float32)
    assert ((steps * sizes).sum(1) / sizes.sum()).tolist() == pytest.approx(history["loss"], rel=1e-5)
    resumed = quick(*table_pair(), split(), epochs=3, resume=True, **settings)
    assert torch.equal(resumed.step_losses[: steps.numel()], history.step_losses)
    assert len(resumed.step_losses) == 3 * steps.shape[1]
    assert len(History().step_losses) == 0


def test_rate_and_distortion_of_training_data(table_pair, split, quick):
    """Those of the first training data points, under the weights that are validated."""
    model, guide = table_pair()
    x = split().train["x"]
    history = quick(model, guide, {"x": x}, valid={"x": x[:20]}, epochs=2)
    for row in history.rows:
        assert (row["train_rate"], row["train_distortion"]) == (row["rate"], row["distortion"])
    assert "train_rate" not in quick(*table_pair(), {"x": x}, epochs=1).rows[0]


def test_a_loss_that_is_scaled_by_hand_is_no_elbo(table_pair, split, quick):
    class Scaled(Program):
        def __init__(self, program):
            super().__init__()
            self.program = program

        def forward(self, x=None, *, size=None):
            with poutine.scale(scale=0.5):
                return self.program(x) if size is None else self.program(size=size)

    history = quick(*map(Scaled, table_pair()), split(), epochs=2, loss=Trace_ELBO())
    assert "train_elbo" not in history.rows[0]
    assert "train_elbo" in quick(*table_pair(), split(), epochs=1, loss=Trace_ELBO()).rows[0]
