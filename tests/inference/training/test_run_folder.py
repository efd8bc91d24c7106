"""The run folder: what it holds, and which runs may continue it."""

import csv
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from pyro.nn import PyroModule, PyroSample

from pyrovae.errors import CheckpointError, CheckpointWarning, OutputError, PairError
from pyrovae.inference import ELBO, IWAE, History, Linear
from pyrovae.inference.pair.running import unchanged
from pyrovae.inference.training.checkpoint import load, save
from pyrovae.inference.training.run_folder import RunFolder
from pyrovae.models import VAE, likelihoods

LOCK = {".lock"}
"""The file of the claim, which some versions of filelock leave behind."""

FILES = ["checkpoint.pt", "config.json", "metrics.csv", "metrics.json", "pair.json"]


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
    assert {p.name for p in tmp_path.iterdir()} - LOCK == {*FILES, "checkpoint.previous.pt"}


def test_a_run_folder_that_cannot_be_written_is_told(tmp_path, table_pair, table, quick):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .* into"):
        quick(*table_pair(), table(), epochs=1, run=tmp_path / "file" / "run")


def test_resuming_another_training_is_refused(tmp_path, table_pair, table, quick):
    def resume(pair=None, data=None, **options):
        quick(*(pair or table_pair()), data or table(), epochs=2, run=tmp_path, resume=True, **options)

    quick(*table_pair(), table(), epochs=1, run=tmp_path)
    decay = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    model, guide = table_pair()
    laplace = VAE(model.prior, likelihoods.Laplace(6), model.decoder)
    for options, words in [
        ({"pair": table_pair(width=8)}, "guide.encoder.layers.0.out_features"),
        ({"pair": (laplace, guide)}, "Laplace"),
        ({"data": table(seed=5)}, "'data'"),
        ({"valid": table(50, 2)}, "'validation data': 'none'"),
        ({"batch_size": 32}, "'batch_size': 64.*'batch_size': 32"),
        ({"seed": 1}, "'seed': 0.*'seed': 1"),
        ({"optim": partial(torch.optim.Adam, lr=1e-2)}, r"with, \{'lr': 0.001\}, got \{'lr': 0.01\}.*load_weights"),
        ({"optim": partial(torch.optim.SGD, lr=1e-3)}, r"with, \{'optimizer': 'Adam'.*\{'optimizer': 'SGD'"),
        ({"average": 0.9}, r"with, \{'average': 0.0\}, got \{'average': 0.9\}"),
        ({"scheduler": decay}, "'scheduler': None.*ExponentialLR"),
        ({"clip_norm": 1.0}, "'clip_norm': None.*'clip_norm': 1.0"),
        ({"precision": "bf16"}, "'precision': 'fp32'.*'precision': 'bf16'"),
        ({"loss": IWAE(3)}, "IWAE"),
        ({"loss": Trace_ELBO(num_particles=2)}, r"\{'loss.num_particles': 1\}, got \{'loss.num_particles': 2\}"),
        ({"transform": unchanged}, "Scale.*unchanged"),
    ]:
        with pytest.raises(CheckpointError, match=words):
            resume(**options)
    resume()


def test_other_settings_of_a_schedule_and_a_weight_are_refused(tmp_path, table_pair, table, quick):
    def run(gamma, weight, **options):
        scheduler = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=gamma)
        loss = ELBO(kl_weight=Linear(0.0, weight, 5))
        quick(*table_pair(), table(), epochs=2, run=tmp_path, scheduler=scheduler, loss=loss, **options)

    run(0.5, 1.0)
    with pytest.raises(CheckpointError, match=r"\{'scheduler.gamma': 0.5\}, got \{'scheduler.gamma': 0.6\}"):
        run(0.6, 1.0, resume=True)
    with pytest.raises(CheckpointError, match=r"kl_weight.end': 1.0\}, got \{'loss.kl_weight.end': 2.0\}"):
        run(0.5, 2.0, resume=True)


def test_the_objects_of_a_run_may_resume_it(tmp_path, table_pair, table, quick):
    """A loss and a pair that have trained have other state, and the same settings."""
    pair, loss = table_pair(), ELBO(kl_weight=Linear(0.0, 1.0, 5))
    for plain, folder in [(loss, "ours"), (Trace_ELBO(), "pyro")]:
        for epochs in (1, 2):
            quick(*pair, table(), epochs=epochs, run=tmp_path / folder, loss=plain, resume=epochs == 2)


# ------------------------------------------------------------------------------------- nothing is lost


def test_a_run_is_replaced_only_where_that_is_said(tmp_path, table_pair, split, quick, same_state):
    history = quick(*table_pair(), split(), epochs=2, run=tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    elbo = f"{history['elbo'][-1]:.2f}"
    words = f"a run of 2 epochs, ELBO {elbo}, written 20.*resume=True.*--resume.*overwrite=True.*--overwrite.*--out"
    with pytest.raises(OutputError, match=words):
        quick(*table_pair(), split(), epochs=2, run=tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    quick(*table_pair(), split(), epochs=1, run=tmp_path, overwrite=True)
    assert len(load(tmp_path / "checkpoint.pt")["history"]["rows"]) == 1
    assert not (tmp_path / "summary.json").exists()
    with pytest.raises(OutputError, match="resume or overwrite, got both"):
        quick(*table_pair(), split(), epochs=1, run=tmp_path, overwrite=True, resume=True)


def test_a_pair_that_is_refused_replaces_nothing(tmp_path, table_pair, split, quick):
    quick(*table_pair(), split(), epochs=1, run=tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(PairError):
        quick(table_pair()[0], lambda x: None, split(), epochs=1, run=tmp_path, overwrite=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("name", ["metrics.csv", "summary.json", "checkpoint.pt"])
def test_any_file_of_a_run_is_somebodys(name, tmp_path, table_pair, split, quick):
    (tmp_path / name).write_text("broken")
    with pytest.raises(OutputError, match="which holds files of a run, written 20"):
        quick(*table_pair(), split(), epochs=1, run=tmp_path)


def test_resuming_where_no_run_is_makes_no_folder(tmp_path, table_pair, split, quick):
    with pytest.raises(CheckpointError, match=r"resume requires a run in .*mispelt.*Check the path"):
        quick(*table_pair(), split(), epochs=1, run=tmp_path / "mispelt", resume=True)
    assert not list(tmp_path.iterdir())


HOLD = """
import sys, time
from pathlib import Path
from pyrovae.inference.training.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).held():
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_training_at_a_time(tmp_path, table_pair, split, quick):
    process = subprocess.Popen([sys.executable, "-P", "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=f"process {process.pid} on .*, which has trained there since 20"):
            quick(*table_pair(), split(), epochs=1, run=tmp_path)
    finally:
        process.kill()
        process.communicate()
    quick(*table_pair(), split(), epochs=1, run=tmp_path)  # the claim of a killed process has ended


def test_two_trainings_in_one_process(tmp_path):
    other = RunFolder(tmp_path)
    with RunFolder(tmp_path).held(), pytest.raises(OutputError, match="one training at a time"), other.held():
        pass


def test_files_of_killed_writers_are_removed(tmp_path, table_pair, split, quick):
    for name in ("checkpoint.pt", "metrics.csv"):
        (tmp_path / f".{name}.0123abcd").write_text("half")
    mine = [tmp_path / ".checkpoint.pt.mine", tmp_path / ".notes.0123abcd"]
    for file in mine:
        file.write_text("kept")
    quick(*table_pair(), split(), epochs=1, run=tmp_path)
    assert {p.name for p in tmp_path.iterdir() if p.name.startswith(".")} - LOCK == {p.name for p in mine}


def test_a_resume_mends_what_a_kill_left_behind(tmp_path, table_pair, split, quick):
    history = quick(*table_pair(), split(), epochs=2, run=tmp_path)
    whole = {name: (tmp_path / name).read_bytes() for name in FILES[1:]}
    (tmp_path / "config.json").unlink()
    (tmp_path / "metrics.csv").write_text(history.csv().splitlines()[0])
    (tmp_path / "metrics.json").write_bytes(b"\xff[{")
    quick(*table_pair(), split(), epochs=2, run=tmp_path, resume=True)
    assert {name: (tmp_path / name).read_bytes() for name in whole} == whole


def test_the_checkpoint_before_is_used_where_the_last_is_broken(tmp_path, table_pair, split, quick, same_state):
    def state(folder):
        return {name: part for name, part in load(folder / "checkpoint.pt").items() if name != "seconds"}

    for folder in ("whole", "broken"):
        quick(*table_pair(), split(), epochs=3, run=tmp_path / folder)
    last = tmp_path / "broken" / "checkpoint.pt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    with pytest.warns(CheckpointWarning, match=r"was changed after it was written.*Took 'checkpoint.previous.pt'"):
        resumed = quick(*table_pair(), split(), epochs=3, run=tmp_path / "broken", resume=True)
    assert len(resumed.rows) == 3
    assert same_state(state(tmp_path / "broken"), state(tmp_path / "whole"))


def test_a_run_folder_changes_no_number(tmp_path, quick):
    """To print a model with random parameters is to draw them."""

    class Random(PyroModule):
        def __init__(self):
            super().__init__()
            self.loc = PyroSample(dist.Normal(0.0, 1.0))

        def forward(self, x=None, *, size=None):
            with pyro.plate("data", len(x) if size is None else size):
                pyro.sample("x", dist.Normal(self.loc, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("loc", dist.Normal(pyro.param("m", torch.zeros(())), 1.0))

    losses = []
    for run in (None, tmp_path):
        pyro.clear_param_store()
        losses.append(quick(Random(), guide, {"x": torch.linspace(-1, 1, 20)}, run=run)["loss"])
    assert losses[0] == losses[1]


# ----------------------------------------------------------------------------------- the files themselves


def test_each_file_is_written_and_read_back(tmp_path):
    folder, settings = RunFolder(tmp_path / "run"), {"seed": 3}
    with folder.held():
        folder.start({"step": 0}, settings, lambda x: x, torch.nn.Identity())
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        assert config["seed"] == 3
        assert config["guide"] == "Identity()"
        folder.save_epoch({"step": torch.tensor(4)}, History(({"epoch": 1, "loss": 2.5},)))
        assert folder.load(torch.device("cpu"), settings) == {"step": torch.tensor(4)}
    assert (tmp_path / "run" / "metrics.csv").read_text().split() == ["epoch,loss", "1,2.5"]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == [{"epoch": 1, "loss": 2.5}]


def test_other_settings_are_refused_with_what_differs(tmp_path, says):
    folder = RunFolder(tmp_path)
    folder.start({}, {"seed": 3, "batch_size": 64, "old": 1}, torch.nn.Identity(), torch.nn.Identity())
    with says(CheckpointError, "{'seed': 3, 'old': 1, 'new': None}", "{'seed': 4, 'old': None, 'new': 2}", "--start"):
        folder.load(torch.device("cpu"), {"seed": 4, "batch_size": 64, "new": 2})
    save(tmp_path / "checkpoint.pt", {"weights": 3})
    with says(CheckpointError, "no training that can be resumed"):
        folder.load(torch.device("cpu"), {})


# ----------------------------------------------------------------------------------------- the machine

LIMITED = """
import resource, sys
sys.path.insert(0, {here!r})
from conftest import quick, split, table_pair
from pyrovae.errors import OutputError
quick(*table_pair(), split(), epochs=1, run=sys.argv[1])
resource.setrlimit(resource.{limit}, ({value}, {value}))
try:
    quick(*table_pair(), split(), epochs=2, run=sys.argv[1], resume=True)
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize(("limit", "value"), [("RLIMIT_FSIZE", 2000), ("RLIMIT_NOFILE", 3)])
def test_a_file_that_cannot_be_written_leaves_the_old_ones(limit, value, tmp_path):
    """A limit on the size of a file is what a full disk is; without handles none is opened."""
    code = LIMITED.format(here=str(Path(__file__).parent), limit=limit, value=value)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "cannot write" in done.stdout
    assert len(load(tmp_path / "checkpoint.pt")["history"]["rows"]) == 1
    assert {p.name for p in tmp_path.iterdir() if p.suffix not in (".pt", ".csv", ".json")} <= LOCK
