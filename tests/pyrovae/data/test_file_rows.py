"""The rows of a memory map, read from its file: they are those of the map, and a shortened file is no SIGBUS."""

import os

import numpy as np
import pytest
import torch

from pyrovae import data
from pyrovae.data import load, mapped
from pyrovae.data.file_rows import MappedRows
from pyrovae.data.named import named_tensors
from pyrovae.data.source import take
from pyrovae.errors import DataError

CHOSEN = torch.tensor([0, 1, 2, 7, 30, 31, 59])


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Saves an array, and gives its path; every `.npy` is mapped."""
    monkeypatch.setattr(data, "STREAM_LIMIT", 0)

    def save(array, name="a.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return save


def numbers(*shape, dtype="float32"):
    return (np.random.default_rng(0).random(shape) * 256).astype(dtype)


@pytest.mark.parametrize(
    "array",
    [
        numbers(80, 3),
        numbers(80),
        numbers(80, 2, 5, dtype="uint8"),
        numbers(80, 4, 5, 3, dtype="uint8"),
        numbers(80, 2, dtype="int64"),
        np.asfortranarray(numbers(80, 3)),
    ],
    ids=["table", "column", "grey images", "colour images", "integers", "by columns"],
)
def test_rows_are_those_of_the_map(array, save):
    for split in load(save(array), valid=10, test=10).splits.values():
        rows = torch.arange(0, len(split["x"]), 3)
        assert torch.equal(MappedRows(split).rows(rows)["x"], split["x"][rows])


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_map_of_the_users_stays_one(mode, save):
    path = save(numbers(60, 3))
    array = np.load(path, mmap_mode=mode)
    if mode != "r":
        array[7] = -1.0  # of a private map, the file knows nothing
    part = named_tensors("fit", {"x": array[5:]})
    assert mapped.is_mapped(part)
    assert part["x"].data_ptr() == array[5:].ctypes.data
    rows = torch.tensor([0, 2, 54])
    assert torch.equal(MappedRows(part).rows(rows)["x"], torch.from_numpy(np.array(array[5:]))[rows])


def test_a_map_of_other_numbers_is_converted(save):
    part = named_tensors("fit", {"x": np.load(save(numbers(60, 3, dtype="float64")), mmap_mode="r")})
    assert part["x"].dtype == torch.float32
    assert not mapped.is_mapped(part)


def test_a_file_that_is_gone_or_replaced_stays_as_it_was(save):
    path = save(numbers(80, 3))
    split = load(path).train
    expected = split["x"][CHOSEN]
    save(numbers(9, 3), "b.npy").replace(path)
    assert torch.equal(MappedRows(split).rows(CHOSEN)["x"], expected)
    path.unlink()
    assert torch.equal(MappedRows(split).rows(CHOSEN)["x"], expected)


def test_a_file_that_is_shortened_is_named(save, says, monkeypatch):
    """Also between the comparison and the read, where reading the map would kill the process."""
    path = save(numbers(80, 3))
    source = MappedRows(load(path).train)
    os.truncate(path, 500)
    with says(DataError, str(path), "changed while it was used", "500"):
        source.rows(CHOSEN)
    monkeypatch.setattr("pyrovae.data.file_rows.check_unchanged", lambda _: None)
    with says(DataError, str(path), "changed while it was used", "it ends before byte"):
        source.rows(CHOSEN)


def test_pages_are_given_back_unless_they_were_written_to(save, monkeypatch):
    monkeypatch.setattr(mapped, "RESIDENT", -1)
    split = load(save(numbers(80, 3))).train
    expected = split["x"].clone()
    for start in (0, 10, 0):
        assert torch.equal(take(split, slice(start, start + 10))["x"], expected[start : start + 10])
    split["x"][3] = -1.0
    take(split, slice(10))
    assert (split["x"][3] == -1).all()
    assert (MappedRows(split).rows(CHOSEN.clamp(max=3).unique())["x"][-1] == -1).all()
