"""The run folder: what it holds, and which runs may continue it."""

import csv
import json
from functools import partial

import pytest
import torch

from pyrovae.errors import CheckpointError, OutputError
from pyrovae.inference import History, fit
from pyrovae.inference.training.recorder import Recorder


def test_the_run_folder_holds_what_happened(tmp_path, table_pair, split, quick):
    model, guide = table_pair()
    history = quick(model, guide, split(), epochs=2, run=tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [float(row["elbo"]) for row in rows] == history["elbo"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == list(history.rows)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["batch_size"] == 64
    assert config["torch"] == torch.__version__
    assert "NormalGuide" in config["guide"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "config.json", "metrics.csv", "metrics.json"]


def test_a_run_folder_that_cannot_be_written_is_told(tmp_path, table_pair, table, quick):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .* into"):
        quick(*table_pair(), table(), epochs=1, run=tmp_path / "file" / "run")


def test_resuming_another_architecture_optimizer_or_configuration_is_refused(tmp_path, table_pair, table, quick):
    quick(*table_pair(), table(), epochs=1, run=tmp_path)
    with pytest.raises(CheckpointError, match="another architecture"):
        quick(*table_pair(width=8), table(), epochs=2, run=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"'batch_size': 64.*'batch_size': 32"):
        fit(*table_pair(), table(), epochs=2, batch_size=32, run=tmp_path, resume=True, progress=False, compile=False)
    with pytest.raises(CheckpointError, match=r"with, \{'lr': 0.001\}, got \{'lr': 0.01\}.*load_weights"):
        quick(*table_pair(), table(), epochs=2, run=tmp_path, resume=True, optim=partial(torch.optim.Adam, lr=1e-2))
    with pytest.raises(CheckpointError, match=r"with, \{'optimizer': 'Adam'.*\{'optimizer': 'SGD'"):
        quick(*table_pair(), table(), epochs=2, run=tmp_path, resume=True, optim=partial(torch.optim.SGD, lr=1e-3))
    with pytest.raises(CheckpointError, match=r"with, \{'average': 0.0\}, got \{'average': 0.9\}"):
        quick(*table_pair(), table(), epochs=2, run=tmp_path, resume=True, average=0.9)
    decay = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    with pytest.raises(CheckpointError, match=r"\{'scheduler': None\}.*\{'scheduler': 'ExponentialLR'\}"):
        quick(*table_pair(), table(), epochs=2, run=tmp_path, resume=True, scheduler=decay)


def test_each_file_is_written_and_read_back(tmp_path):
    recorder = Recorder(tmp_path / "run", {"seed": 3})
    recorder.start({"step": 0}, lambda x: x, torch.nn.Identity())
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["seed"] == 3
    assert config["guide"] == "Identity()"
    recorder.save_epoch({"step": torch.tensor(4)}, History(({"epoch": 1, "loss": 2.5},)))
    assert recorder.load(torch.device("cpu")) == {"config": {"seed": 3}, "step": torch.tensor(4)}
    assert (tmp_path / "run" / "metrics.csv").read_text().split() == ["epoch,loss", "1,2.5"]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == [{"epoch": 1, "loss": 2.5}]


def test_another_configuration_is_refused_with_what_differs(tmp_path, says):
    Recorder(tmp_path, {"seed": 3, "batch_size": 64, "old": 1}).save({})
    with says(CheckpointError, "{'seed': 3, 'old': 1, 'new': None}", "{'seed': 4, 'old': None, 'new': 2}", "--start"):
        Recorder(tmp_path, {"seed": 4, "batch_size": 64, "new": 2}).load(torch.device("cpu"))
