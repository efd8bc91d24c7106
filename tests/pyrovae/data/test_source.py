"""Data larger than memory: what a source gives, as the tools see it."""

import numpy as np
import pytest
import torch

from pyrovae.data import Binarize, Dataset, Quadrants, Scale, Source, Standardize, Trim
from pyrovae.data.named import batch_of
from pyrovae.data.source import LazyBatch, narrowed, take
from pyrovae.errors import DataError, SettingError, SupportError


class Squares:
    """x is the number of a row and its square."""

    def __init__(self, size=100, dtype=np.float64):
        self.size, self.dtype, self.asked = size, dtype, []

    def __len__(self):
        return self.size

    def rows(self, numbers):
        self.asked.append(numbers)
        x = numbers.numpy().astype(self.dtype)
        return {"x": np.stack([x, x**2], 1), "y": numbers % 3}


@pytest.fixture
def squares():
    return Squares()


@pytest.fixture
def batch(squares):
    return batch_of("fit", squares)


def test_a_source_is_read_in_rows(squares, batch):
    assert isinstance(squares, Source)
    assert isinstance(batch, LazyBatch)
    assert batch.size == 100
    assert list(batch) == ["x", "y"]
    assert "x" in batch
    assert "z" not in batch
    rows = torch.tensor([7, 3, 3, -1])
    assert take(batch, rows)["x"].tolist() == [[7, 49], [3, 9], [3, 9], [99, 99**2]]
    assert squares.asked[-1].tolist() == [3, 7, 99]  # increasing, each once
    assert take(batch, slice(98, 200))["y"].tolist() == [2, 0]
    assert take(narrowed(batch, 3), slice(None))["x"].shape == (3, 2)
    with pytest.raises(IndexError):
        take(batch, torch.tensor([100]))
    with pytest.raises(KeyError):
        batch["z"]


def test_arrays_become_tensors_of_the_pairs_floats(squares):
    assert batch_of("fit", squares)["x"].dtype == torch.float32
    assert batch_of("fit", squares, torch.float64)["x"].dtype == torch.float64
    assert batch_of("fit", squares)["y"].dtype == torch.int64


def test_a_whole_tensor_is_read_where_it_fits(batch, monkeypatch, says):
    assert torch.equal(batch["y"], torch.arange(100) % 3)
    monkeypatch.setattr("pyrovae.data.source.LOAD_LIMIT", 799)
    with says(DataError, "whole of 'x'", "799", "Pass fewer rows of the Squares"):
        batch["x"]


def test_it_stays_as_it_is_where_it_comes_in_again(batch):
    assert batch_of("evaluate", batch) is batch


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Squares(0), ["length 0", "Squares"]),
        (type("Texts", (Squares,), {"rows": lambda self, n: {"x": np.array(["a"] * len(n))}})(), ["requires numbers"]),
        (type("Few", (Squares,), {"rows": lambda self, n: {"x": torch.zeros(1, 2)}})(), ["of 2 rows", "got 1 rows"]),
        (type("Lists", (Squares,), {"rows": lambda self, n: [1, 2]})(), ["named tensors", "a list"]),
    ],
)
def test_what_is_no_source_is_refused(source, words, says):
    with says(DataError, *words):
        batch_of("fit", source)


def test_rows_that_are_not_alike_are_named(says):
    class Ragged(Squares):
        def rows(self, numbers):
            return {"x": torch.zeros(len(numbers), 2 if numbers[-1] < 50 else 3)}

    batch = batch_of("fit", Ragged())
    with says(DataError, "Ragged.rows requires 'x'", "(2,)", "(3,)"):
        take(batch, torch.tensor([70]))


def test_a_source_that_shrinks_is_named(squares, batch, says):
    squares.size = 60
    with says(DataError, "The Squares changed", "100", "60", "Load it again"):
        take(batch, slice(5))


# ------------------------------------------------------------------------------------------------- transforms


class Images(Squares):
    """Grey levels, or floats that leave [0, 1] at row 50."""

    def rows(self, numbers):
        x = numbers[:, None, None, None].expand(-1, 1, 4, 4)
        return {"x": x.byte() if self.dtype == np.uint8 else x / 50}


def test_transforms_prepare_some_rows_at_a_time():
    grey = batch_of("fit", Images(dtype=np.uint8))
    for transform in (Scale(), Binarize(), Binarize("threshold"), Quadrants()):
        whole = {"x": grey["x"]}
        expected = transform.prepare(whole)
        found = grey.prepared(transform)
        assert found.size == 100
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor)
            assert torch.equal(found.prepared(transform)[name], tensor)  # prepared data stay as they are
    table = batch_of("fit", Squares())
    assert torch.equal(table.prepared(Standardize.of(table["x"]))["x"], table["x"])
    assert table.prepared(lambda batch: batch) is table


def test_the_first_rows_are_checked_at_once_and_others_when_they_are_read(says):
    bits = batch_of("fit", type("Bits", (Images,), {"rows": lambda self, n: {"x": (n % 2).byte()}})())
    with says(SupportError, "binary already"):
        bits.prepared(Scale())
    floats = batch_of("fit", Images(2000)).prepared  # row 50 is among the first
    with says(SupportError, "in [0, 1]"):
        floats(Binarize())
    late = batch_of("fit", type("Late", (Images,), {"rows": lambda self, n: {"x": n / 1500}})(2000)).prepared(
        Binarize()
    )
    take(late, slice(1500))
    with says(SupportError, "in [0, 1]"):
        take(late, slice(1500, 1600))


def test_a_transform_of_the_whole_is_refused(says):
    grey = batch_of("fit", Images(dtype=np.uint8))
    with says(SettingError, "draws all data at once", "Binarize('threshold')"):
        grey.prepared(Binarize("static"))
    with says(SettingError, "Trim()", "prepare_rows(batch)", "named tensors"):
        grey.prepared(Trim())


def test_a_data_set_may_have_sources_as_splits(squares):
    found = Dataset(squares, {}, {"x": torch.zeros(5, 2)}, "squares", "formulas")
    assert found.describe() == "squares: 100 train / 0 valid / 5 test; a Squares; formulas"
    assert "100" in found._repr_html_()
    assert found.to("cpu").train is squares
