"""A stream is read one batch after the other, checked, and put back where it was."""

import copy

import numpy as np
import pytest
import torch

from pyrovae.errors import CheckpointError, DataError, SettingError
from pyrovae.inference.training.stream import Stream


class Counting:
    """Batches of the numbers 0, 1, 2, ..., with a place."""

    def __init__(self, size=4, end=None):
        self.size, self.end, self.at = size, end, 0

    def __iter__(self):
        while self.end is None or self.at < self.end:
            self.at += 1
            yield {"x": torch.arange(self.size, dtype=torch.float32)[:, None] + self.size * (self.at - 1)}

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


class Lossy(Counting):
    """It forgets a batch when it goes back."""

    def load_state_dict(self, state):
        self.at = state["at"] + (state["at"] > 0)


def stream(source, **options):
    return Stream(source, **{"batch_size": 4, "floats": None} | options)


def test_the_first_batch_is_looked_at_and_not_lost():
    found = stream(Counting())
    assert found.first["x"].flatten().tolist() == [0, 1, 2, 3]
    assert found.read == 0
    assert [found.take()["x"][0].item() for _ in range(3)] == [0, 4, 8]
    assert found.read == 3


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_it_goes_back_to_its_place(taken):
    one = stream(Counting())
    one.check_resumes()
    for _ in range(taken):
        one.take()
    state = copy.deepcopy(one.state_dict())
    ahead = [one.take()["x"] for _ in range(3)]
    other = stream(Counting())
    other.load_state_dict(state)
    assert all(torch.equal(other.take()["x"], x) for x in ahead)
    assert other.read == one.read


def test_a_generator_has_no_place():
    found = stream({"x": torch.ones(2, 1)} for _ in range(3))
    assert not found.resumes
    with pytest.raises(SettingError, match=r"got a generator without state_dict\. Give it state_dict\(\)"):
        found.check_resumes()


def test_a_stream_that_does_not_resume_exactly_is_found_out():
    with pytest.raises(SettingError, match="got a Lossy whose batches differ"):
        stream(Lossy()).check_resumes()


def test_a_check_near_the_end_reads_no_further():
    found = stream(Counting(end=1))
    found.check_resumes()
    assert found.take()["x"][0] == 0


@pytest.mark.parametrize("state", [np.float64(1.0), {"rng": np.random.default_rng(0)}, [{1, 2}], {"a": {"b": b"x"}}])
def test_a_state_that_is_not_plain_is_refused(state):
    source = Counting()
    source.state_dict = lambda: state
    with pytest.raises(DataError, match=r"numbers, texts, tensors, lists and dicts, got .* at state_dict\(\)"):
        stream(source)


def test_arrays_become_tensors_of_the_pairs_type():
    batches = iter([{"x": np.zeros((3, 2)), "y": np.arange(3)}])
    found = stream(batches, floats=torch.float64)
    assert {name: tensor.dtype for name, tensor in found.first.items()} == {"x": torch.float64, "y": torch.int64}


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([], "got an empty one"),
        ([torch.ones(2)], "got a Tensor as batch 1"),
        ([(torch.ones(2), 1)], "got a tuple as batch 1"),
        ([{"x": [1, 2]}], 'at "x", got a list'),
    ],
)
def test_a_first_batch_that_is_no_named_tensors(batches, words):
    with pytest.raises(DataError, match=words):
        stream(iter(batches))


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"x": torch.ones(3, 2)}, r"'float32 \(4, 2\)'.*'float32 \(3, 2\)'} as batch 2.*drop_last=True"),
        ({"x": torch.ones(4, 2).double()}, "float64"),
        ({"y": torch.ones(4, 2)}, r"'x': 'none', 'y'"),
        ({"x": torch.ones(4, 2), "y": torch.ones(4)}, r"'y': 'none'"),
        (None, "got None as batch 2"),
    ],
)
def test_a_later_batch_that_is_another(second, words):
    found = stream(iter([{"x": torch.ones(4, 2)}, second]))
    found.take()
    with pytest.raises(DataError, match=words):
        found.take()


def test_a_stream_that_ends():
    found = stream(iter([{"x": torch.ones(4, 2)}] * 2))
    found.take()
    found.take()
    with pytest.raises(DataError, match=r"ended after 2 batches\. Write steps=2, or let it start again"):
        found.take()


@pytest.mark.parametrize("state", [None, 3, {"read": 1}, {"source": {}, "read": "1"}])
def test_a_state_of_no_stream(state):
    with pytest.raises(CheckpointError, match="requires the place of a stream"):
        stream(Counting()).load_state_dict(state)


def test_a_state_that_the_source_refuses():
    with pytest.raises(CheckpointError, match=r"got one that it refuses: KeyError: 'at'"):
        stream(Counting()).load_state_dict({"source": {}, "read": 1})


# ------------------------------------------------------------------------------------------- Hugging Face datasets


def rows_of(size, **columns):
    datasets = pytest.importorskip("datasets")
    table = {"x": np.arange(2 * size, dtype=np.float32).reshape(size, 2).tolist()} | columns
    return datasets.Dataset.from_dict(table).to_iterable_dataset()


def test_rows_of_datasets_become_batches():
    found = stream(rows_of(10, y=list(range(10))).repeat(None), batch_size=4)
    taken = [found.take() for _ in range(3)]
    assert [batch["y"].tolist() for batch in taken] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]
    assert taken[0]["x"].shape == (4, 2)


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_rows_of_datasets_resume(taken):
    one, other = (stream(rows_of(10).repeat(None), batch_size=4) for _ in range(2))
    one.check_resumes()
    for _ in range(taken):
        one.take()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for _ in range(5):
        assert torch.equal(one.take()["x"], other.take()["x"])


def test_a_shuffling_buffer_of_datasets_resumes_or_is_refused():
    """Newer versions of datasets fill the buffer again as it was; older ones do not, and are refused."""
    one, other = (stream(rows_of(200).shuffle(seed=0, buffer_size=50), batch_size=4) for _ in range(2))
    reason = ""
    try:
        one.check_resumes()
    except SettingError as error:
        reason = str(error)
    if reason:
        assert "a buffer that shuffles is no part of the state" in reason
        return
    for _ in range(3):
        one.take()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert torch.equal(one.take()["x"], other.take()["x"])


def test_columns_of_datasets_that_are_no_numbers():
    with pytest.raises(DataError, match=r"at \"name\", got a str\. Leave it out: dataset\.remove_columns\('name'\)"):
        stream(rows_of(4, name=list("abcd")))


def test_ragged_columns_of_datasets():
    with pytest.raises(DataError, match=r"rows of one shape at \"z\", got \(1,\) and \(2,\)"):
        stream(rows_of(4, z=[[1], [1, 2], [1], [1]]))
