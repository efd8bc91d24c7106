"""Training on data larger than memory: the numbers are those of tensors in memory, and a resume repeats them."""

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrovae.data import Dataset
from pyrovae.data.permutation import TABLE
from pyrovae.errors import DataError, SupportError
from pyrovae.inference import encode, evaluate, fit, log_evidence, posterior
from pyrovae.inference.training.settings import fingerprint
from pyrovae.inference.training.svi import SVI
from pyrovae.inference.training.training_data import TrainingData


class Rows:
    """Tensors as a source, which notes what is read and may do something before."""

    def __init__(self, tensors, before=lambda numbers: None):
        self.tensors, self.before, self.read = tensors, before, []

    def __len__(self):
        return len(self.tensors["x"])

    def rows(self, numbers):
        self.before(numbers)
        self.read.append(numbers)
        return {name: tensor[numbers] for name, tensor in self.tensors.items()}


@pytest.fixture
def data(table):
    return table(500)


@pytest.fixture
def no_thread_left():
    """No reader lives after the test."""
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "pyrovae reads ahead"]


pytestmark = pytest.mark.usefixtures("no_thread_left")


def test_training_and_evaluation_are_those_of_tensors(data, table_pair, quick, tmp_path, equal, weights):
    np.save(tmp_path / "x.npy", data["x"].numpy())
    mapped = {"x": np.load(tmp_path / "x.npy", mmap_mode="r")}
    found = []
    for kind in (data, Rows(data), mapped):
        model, guide = table_pair()
        history = quick(model, guide, kind, epochs=2, valid=kind)
        shown = history.rows[-1]
        measured = evaluate(model, guide, kind, num_samples=3).per_datum["elbo"]
        codes = encode(model, guide, kind)["z"]
        draws = posterior(model, guide, kind, 2)
        evidence = log_evidence(model, guide, kind, num_samples=3)
        found.append((weights(model, guide), shown, measured, codes, draws.latents["z"], evidence))
    for others in found[1:]:
        assert equal(others[0], found[0][0])
        assert others[1] == found[0][1]
        assert all(torch.equal(a, b) for a, b in zip(others[2:5], found[0][2:5], strict=True))
        assert str(others[5]) == str(found[0][5])


def test_compiled_training_is_that_of_tensors(data, table_pair, captured_only, weights):
    found = []
    for kind in (data, Rows(data)):
        model, guide = table_pair()
        torch.manual_seed(0)
        fit(model, guide, kind, epochs=2, batch_size=50, compile=True, progress=False)
        found.append(weights(model, guide))
    for expected, tensor in zip(*found, strict=True):
        torch.testing.assert_close(tensor, expected)


def test_splits_of_a_data_set_may_be_sources(data, table_pair, quick):
    both = Dataset(Rows(data), Rows(data), {}, "rows", "a test")
    assert "elbo" in quick(*table_pair(), both, epochs=1).rows[0]


def test_each_row_comes_once_an_epoch_in_a_random_order(table_pair, quick):
    seen = []

    def noted(batch):
        seen.append(batch["x"][:, 0].clone())
        return batch

    numbers = {"x": torch.arange(1000.0)[:, None].expand(-1, 6) / 1000}
    source = Rows({"x": numbers["x"].contiguous()})
    quick(*table_pair(), source, epochs=2, batch_size=100, transform=noted)
    epochs = (
        [torch.cat(part) for part in (steps[-20:-10], steps[-10:])]
        if (steps := [s for s in seen if len(s) == 100])
        else []
    )
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, numbers["x"][:, 0])
        places = torch.stack([torch.arange(1000.0), epoch])
        assert torch.corrcoef(places)[0, 1].abs() < 0.1
        assert all(len((step * 10).floor().unique()) >= 8 for step in epoch.split(100))  # rows from all over the data
    assert not torch.equal(*epochs)


def test_rows_are_read_ahead_by_another_thread(data, table_pair, quick):
    readers = set()
    source = Rows(data, before=lambda _: readers.add(threading.current_thread().name))
    quick(*table_pair(), source, epochs=1)
    assert "pyrovae reads ahead" in readers


# ------------------------------------------------------------------------------------------------- what goes wrong


def test_an_error_of_the_source_ends_the_training(data, table_pair, quick):
    def broken(numbers):
        if threading.current_thread() is not threading.main_thread() and 123 in numbers:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        quick(*table_pair(), Rows(data, before=broken), epochs=3)


def test_a_source_that_shrinks_while_training_is_named(data, table_pair, quick, says):
    source = Rows(data)

    def shrinks(numbers):
        if len(source.read) == 20:
            source.tensors = {"x": data["x"][:400]}

    source.before = shrinks
    with says(DataError, "The Rows changed", "500", "400"):
        quick(*table_pair(), source, epochs=30)


def test_labels_of_a_source_are_checked_where_they_are_read(all_pairs, says):
    model, guide, batch, _ = all_pairs["conditional-on-labels"]()
    rows = torch.arange(300) % len(batch["x"])
    many = {name: tensor[rows].clone() for name, tensor in batch.items()}
    many["y"][250] = 99
    with says(SupportError, "99"):
        fit(model, guide, Rows(many), epochs=1, batch_size=50, progress=False, compile=False)


class Endless:
    """2^31 rows that nobody stores."""

    def __init__(self, size=2**31):
        self.size, self.read = size, []

    def __len__(self):
        return self.size

    def rows(self, numbers):
        self.read.append(numbers)
        return {"x": torch.sin(numbers[:, None] * torch.arange(1, 7, dtype=torch.float64)).float()}


def test_more_rows_than_a_table_of_their_numbers_could_hold(table_pair, says):
    source, (model, guide) = Endless(), table_pair()
    make = partial(
        TrainingData, model, guide, source, None, lambda b: b, batches=None, seed=0, device=torch.device("cpu")
    )
    data = make(batch_size=1000)
    assert data.size == 2**31 > TABLE
    assert len(data.order(0)) == -(-(2**31) // 1000)
    first, again, other = data.order(3)[0], make(batch_size=1000).order(3)[0], data.order(4)[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    order = torch.stack([data.order(0)[step] for step in range(5)])
    with data.reading([order], 5):
        losses = SVI(model, guide, torch.optim.Adam, compile=False).steps(data.train, 5, order=order)
    assert losses.isfinite().all()
    assert str(2**31) in fingerprint(data.train)
    with says(DataError, "The whole of 'x' would take 48.0 GiB"):
        data.train["x"]


def test_a_training_on_2_31_rows_stops_when_it_is_asked_to(table_pair, tmp_path):
    class Asks(Endless):
        def rows(self, numbers):
            if len(self.read) == 40:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().rows(numbers)

    with pytest.raises(KeyboardInterrupt, match="of epoch 1"):
        fit(*table_pair(), Asks(), epochs=1, batch_size=1000, progress=False, compile=False, run=tmp_path)


# ------------------------------------------------------------------------------------------------- resume


def test_the_fingerprint_sees_other_rows_and_another_length(data):
    from pyrovae.data.named import batch_of

    found = [fingerprint(batch_of("fit", Rows(tensors))) for tensors in (data, data, {"x": data["x"] + 1})]
    assert found[0] == found[1] != found[2]
    assert fingerprint(batch_of("fit", Rows({"x": data["x"][:400]}))) != found[0]


def test_an_interrupt_in_mid_epoch_and_a_resume_see_each_row_once(table_pair, tmp_path, quick, same_state, state_of):
    numbers = {"x": torch.arange(1000.0)[:, None].expand(-1, 6) / 1000}
    steps = []

    def train(folder, stop, **options):
        def noted(batch):
            steps.append(batch["x"][:, 0].clone())
            if len(steps) == stop:
                os.kill(os.getpid(), signal.SIGTERM)
            return batch

        steps.clear()
        quick(*table_pair(), Rows(numbers), epochs=2, transform=noted, run=folder, **options)

    train(tmp_path / "whole", None)
    whole = [step for step in steps if len(step) in (64, 40)][-32:]
    with pytest.raises(KeyboardInterrupt, match="of epoch 1"):
        train(tmp_path / "cut", 12)
    train(tmp_path / "cut", None, resume=True)
    assert same_state(state_of(tmp_path / "cut"), state_of(tmp_path / "whole"))
    assert torch.equal(torch.cat(steps[-16:]), torch.cat(whole[-16:]))
    assert torch.cat(steps[-16:]).unique().numel() == 1000


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from pyrovae.inference import fit

sys.path.insert(0, {shared!r})
from built_pairs import PAIRS

folder, last = Path(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0)
model, guide, batch, _ = PAIRS["normal-learned"]()
tensors = {{name: tensor[torch.arange(400) % len(tensor)] for name, tensor in batch.items()}}

count = 0
def dying(batch):
    global count
    count += 1
    if count == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch

class Rows:
    def __len__(self):
        return 400
    def rows(self, numbers):
        return {{name: tensor[numbers] for name, tensor in tensors.items()}}

fit(model, guide, Rows(), valid=tensors, transform=dying, epochs=4, batch_size=40, progress=False, compile=False,
    run=folder, resume=(folder / "checkpoint.pt").exists())
"""


@pytest.mark.slow
def test_kills_in_the_middle_of_an_epoch(tmp_path, same_state, state_of):
    code = KILLED.format(shared=str(Path(__file__).parents[2] / "shared"))

    def run(folder, last):
        return subprocess.run(
            [sys.executable, "-P", "-c", code, str(tmp_path / folder), str(last)], capture_output=True, text=True
        )

    assert run("whole", 0).returncode == 0
    for last in (22, 27, 25):
        assert run("killed", last).returncode == -signal.SIGKILL
    done = run("killed", 0)
    assert done.returncode == 0, done.stderr
    assert same_state(state_of(tmp_path / "killed"), state_of(tmp_path / "whole"))
