"""`fit` on streams: by steps, resumed where they were, and refused where they cannot be."""

import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pyrovae.data import Binarize
from pyrovae.errors import CheckpointError, DataError, PairError, SettingError
from pyrovae.inference import StopTraining, encode, evaluate, fit
from pyrovae.inference.training.checkpoint import load


class Drawn:
    """Batches that a generator of its own draws, with its state as the place."""

    def __init__(self, seed=0, size=32, end=None):
        self.generator, self.size, self.end, self.given = torch.Generator().manual_seed(seed), size, end, 0
        self.base = torch.randn(2, 6, generator=torch.Generator().manual_seed(5))

    def __iter__(self):
        while self.end is None or self.given < self.end:
            self.given += 1
            z = torch.randn(self.size, 2, generator=self.generator)
            yield {"x": z @ self.base + 0.3 * torch.randn(self.size, 6, generator=self.generator)}

    def state_dict(self):
        return {"generator": self.generator.get_state(), "given": self.given}

    def load_state_dict(self, state):
        self.generator.set_state(state["generator"])
        self.given = state["given"]


@pytest.fixture
def train(table_pair):
    """Train a new pair on a stream without a bar and without compiling; gives the history and the pair."""

    def train(source, seed=0, **options):
        pair = table_pair(seed=seed)
        options = {"steps": 40, "steps_per_epoch": 10, "progress": False, "compile": False} | options
        return fit(*pair, source, **options), pair

    return train


def test_a_stream_trains_by_steps(train, table):
    history, pair = train(
        Drawn(), steps=60, steps_per_epoch=20, valid=table(50), optim=(torch.optim.Adam, {"lr": 0.01})
    )
    assert history["epoch"] == [1, 2, 3]
    assert history["step"] == [20, 40, 60]
    assert history.step_losses.shape == (60,)
    assert history["loss"][-1] < history["loss"][0]
    assert {"elbo", "rate", "distortion", "train_rate"} <= history.rows[0].keys()
    assert history["elbo"][-1] == pytest.approx(evaluate(*pair, table(50)).elbo.value, abs=0.3)


def test_a_stream_of_the_rows_in_order_trains_as_the_data_do(train, table, table_pair, weights, equal):
    """Batches that a stream gives, and the same rows gathered from memory: one loop."""
    data = table(120)
    order = [torch.arange(40), torch.arange(40, 80), torch.arange(80, 120)]
    pair = table_pair()
    options = {"progress": False, "compile": False, "valid": table(50)}
    whole = fit(*pair, data, epochs=2, batch_size=40, batches=lambda generator: order, **options)
    stream = ({"x": data["x"][rows]} for _ in range(2) for rows in order)
    history, streamed = train(stream, steps=6, steps_per_epoch=3, valid=table(50))
    assert torch.equal(history.step_losses, whole.step_losses)
    assert equal(weights(*streamed), weights(*pair))
    same = ("loss", "elbo", "rate", "distortion")
    assert [[row[name] for name in same] for row in history.rows] == [
        [row[name] for name in same] for row in whole.rows
    ]


@pytest.mark.slow
def test_a_stream_trains_compiled(train):
    eager, _ = train(Drawn(), steps=20)
    compiled, _ = train(Drawn(), steps=20, compile=True)
    assert compiled["loss"] == pytest.approx(eager["loss"], rel=1e-4)


def test_a_stream_resumes_where_it_was(tmp_path, train, table, same_state, state_of):
    def stop(report):
        if report.epoch == 2:
            raise StopTraining

    train(Drawn(), run=tmp_path / "whole", valid=table(50))
    train(Drawn(), run=tmp_path / "parts", valid=table(50), callbacks=[stop])
    assert len(load(tmp_path / "parts" / "checkpoint.pt")["history"]["rows"]) == 2
    train(Drawn(), seed=3, run=tmp_path / "parts", resume=True, valid=table(50))
    assert same_state(state_of(tmp_path / "parts"), state_of(tmp_path / "whole"))


def test_a_stream_resumes_within_an_epoch(tmp_path, train, same_state, state_of):
    """Ctrl-C comes while the seventeenth batch is read."""

    class Interrupted(Drawn):
        def __iter__(self):
            for number, batch in enumerate(super().__iter__(), 1):
                if self.given == 17 and number > 1:
                    signal.raise_signal(signal.SIGINT)
                yield batch

    train(Drawn(), run=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="stopped after step 7 of epoch 2"):
        train(Interrupted(), run=tmp_path / "parts")
    train(Drawn(), run=tmp_path / "parts", resume=True)
    assert same_state(state_of(tmp_path / "parts"), state_of(tmp_path / "whole"))


def test_a_resume_needs_the_same_stream(tmp_path, train):
    train(Drawn(), run=tmp_path, steps=10)
    with pytest.raises(CheckpointError, match="settings"):
        train(Drawn(seed=1), run=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="steps_per_epoch"):
        train(Drawn(), run=tmp_path, resume=True, steps_per_epoch=5)
    with pytest.raises(CheckpointError, match="data_size"):
        train(Drawn(), run=tmp_path, resume=True, data_size=9)


def test_a_torch_loader_is_a_stream(train, table):
    class Named(DataLoader):
        def __iter__(self):
            return ({"x": x} for (x,) in super().__iter__())

    loader = Named(TensorDataset(table(320)["x"]), batch_size=32, shuffle=True)
    one, two = (train(loader, steps=10)[0] for _ in range(2))
    assert one.rows == two.rows  # the seed of the training is that of the loader's order
    before = torch.get_rng_state()
    train(loader, steps=10)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_latent_of_all_data_gets_the_size_that_the_user_names(pair_of_all_data):
    options = {"steps": 20, "steps_per_epoch": 10, "progress": False, "compile": False}
    frozen = (torch.optim.SGD, {"lr": 0.0})
    small, large = (
        fit(*pair_of_all_data(), Drawn(), data_size=n, optim=frozen, **options)["loss"][0] for n in (64, 10**4)
    )
    assert small == pytest.approx(large, rel=0.3)  # nats per data point, with one more term per data set in each
    assert small != large
    with pytest.raises(SettingError, match=r"got a stream, which has no length\. Write data_size="):
        fit(*pair_of_all_data(), Drawn(), **options)


def test_the_scale_of_a_latent_of_all_data(pair_of_all_data):
    """With data of N points, the loss per data point has the latent's term over N."""
    data = next(iter(Drawn(size=64)))
    options = {"progress": False, "compile": False, "optim": (torch.optim.SGD, {"lr": 0.0})}
    whole = fit(*pair_of_all_data(), data, epochs=1, batch_size=64, batches=lambda _: [torch.arange(64)], **options)
    stream = fit(*pair_of_all_data(), iter([data]), steps=1, steps_per_epoch=1, data_size=64, **options)
    assert stream["loss"] == whole["loss"]


# ------------------------------------------------------------------------------------------------------- errors


def test_a_run_folder_needs_a_place(tmp_path, train):
    with pytest.raises(SettingError, match=r"got a generator without state_dict.*run=None"):
        train((batch for batch in Drawn()), run=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_stream_that_ends_or_changes(tmp_path, train):
    with pytest.raises(DataError, match="ended after 25 batches"):
        train(Drawn(end=25), run=tmp_path)
    assert len(load(tmp_path / "checkpoint.pt")["history"]["rows"]) == 2
    batches = [{"x": torch.randn(8, 6)}, {"x": torch.randn(3, 6)}]
    with pytest.raises(DataError, match=r"\(3, 6\)'} as batch 2"):
        train(iter(batches))


def test_a_first_batch_that_the_pair_cannot_take(train):
    with pytest.raises(PairError):
        train(iter([{"y": torch.randn(8, 6)}] * 9))
    with pytest.raises(PairError, match="got an empty batch"):
        train(iter([{"x": torch.randn(0, 6)}] * 9))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 45}, r"multiple of steps_per_epoch=10, got 45\. Write steps=50"),
        ({"steps": -10}, "steps requires"),
        ({"steps": 1.5}, "steps requires"),
        ({"steps_per_epoch": 0}, "steps_per_epoch requires"),
        ({"data_size": 0}, "data_size requires"),
        ({"epochs": 3}, "got steps=40 and epochs=3"),
        ({"batches": lambda generator: []}, "got steps=40 and batches"),
        ({"transform": Binarize("static")}, "draws the bits of a whole data set once"),
    ],
)
def test_settings_of_a_stream(options, words, train):
    with pytest.raises(SettingError, match=words):
        train(Drawn(), **options)


def test_data_with_a_length_take_epochs(train, table, table_pair):
    with pytest.raises(SettingError, match=r"steps requires a stream.* got a dict\. Write epochs=10"):
        train(table())
    with pytest.raises(SettingError, match="data_size belongs to a stream, got 200 without steps"):
        fit(*table_pair(), table(), data_size=200, progress=False)


def test_a_stream_without_steps_is_told_to_name_them(table_pair):
    with pytest.raises(DataError, match=r"got a Drawn\. Train on its batches: fit\(model, guide, stream, steps=1000\)"):
        fit(*table_pair(), Drawn(), progress=False)


@pytest.mark.parametrize("tool", [evaluate, encode])
def test_other_tools_take_no_stream(tool, table_pair):
    with pytest.raises(DataError, match=r"It has no length\. Take some of it into memory.*islice\(stream, 10\)"):
        tool(*table_pair(), Drawn())


def test_no_steps_are_none(train):
    history, _ = train(Drawn(), steps=0)
    assert history.rows == ()


# -------------------------------------------------------------------------------------------------------- kills

TRAIN = """
import sys
from pathlib import Path
from importlib.util import module_from_spec, spec_from_file_location
from pyrovae.inference import fit

def of(path, name):
    spec = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

here = Path({here!r})
pairs, streams = of(here / "conftest.py", "conftest"), of(here / "test_stream_fit.py", "streams")
folder = Path(sys.argv[1])
print("begun", flush=True)
fit(*pairs.table_pair(), streams.Drawn(), steps=300, steps_per_epoch=30, valid=pairs.table(), average=0.5,
    progress=False, compile=False, run=folder, resume=(folder / "checkpoint.pt").exists())
"""


@pytest.mark.slow
def test_kills_of_a_stream(tmp_path, same_state, state_of):
    """SIGKILL and SIGTERM, twice each, at random moments: the run ends as the undisturbed one, bit for bit."""
    from pathlib import Path

    code = TRAIN.format(here=str(Path(__file__).parent))

    def begin(folder):
        process = subprocess.Popen([sys.executable, "-P", "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "begun\n"
        return process

    started = time.monotonic()
    with begin(tmp_path / "whole") as process:
        assert process.wait(300) == 0
    taken, moments = time.monotonic() - started, random.Random(0)
    for kill in [signal.SIGKILL, signal.SIGTERM] * 2:
        with begin(tmp_path / "killed") as process:
            time.sleep(moments.uniform(0, taken / 4))
            process.send_signal(kill)
    with begin(tmp_path / "killed") as process:
        assert process.wait(300) == 0
    assert same_state(state_of(tmp_path / "killed"), state_of(tmp_path / "whole"))
