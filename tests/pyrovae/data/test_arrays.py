"""The user's own arrays: shuffling, splits, dtypes, shapes, labels, and what each error says."""

import numpy as np
import pytest
import torch

from pyrovae import data
from pyrovae.data import load
from pyrovae.errors import DataError, ShapeError


def sizes(dataset):
    return tuple(len(batch["x"]) for batch in dataset.splits.values())


def rows(x):
    return {row.numpy().tobytes() for row in x}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def numbered(n, width=3):
    """An array whose rows are all different."""
    return np.arange(n * width, dtype=np.float32).reshape(n, width)


def test_npy_is_shuffled_split_and_complete(save):
    path = save("a.npy", numbered(100))
    one, two = load(path), load(path)
    assert sizes(one) == (80, 10, 10)
    assert all(same(a, b) for a, b in zip(one.splits.values(), two.splits.values(), strict=True))
    everything = torch.cat([batch["x"] for batch in one.splits.values()])
    assert rows(everything) == rows(torch.from_numpy(numbered(100)))
    assert not torch.equal(everything, torch.from_numpy(numbered(100)))
    assert one.classes is None
    assert "shuffled" in one.source
    assert sizes(load(path, valid=0)) == (90, 0, 10)


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("f8", "float32"), ("f2", "float32"), (">f4", "float32"), ("u1", "uint8"), ("i4", "int64"), ("?", "float32")],
)
def test_dtypes(dtype, kept, save):
    x = load(save("a.npy", np.ones((10, 4), dtype))).train["x"]
    assert x.dtype == getattr(torch, kept)
    assert x.shape == (8, 4)


@pytest.mark.parametrize(
    ("shape", "event"),
    [
        ((10, 6, 5), (1, 6, 5)),
        ((10, 6, 5, 3), (3, 6, 5)),
        ((10, 6, 5, 1), (1, 6, 5)),
        ((10, 3, 6, 5), (3, 6, 5)),
        ((10, 3, 6, 3), (3, 6, 3)),
        ((10, 6, 5, 4), (6, 5, 4)),
        ((10, 7), (7,)),
    ],
)
def test_uint8_images_are_channels_first(shape, event, monkeypatch, save):
    path = save("a.npy", np.arange(np.prod(shape)).reshape(shape).astype(np.uint8))
    assert load(path).train["x"].shape == (8, *event)
    assert load(path).train["x"].is_contiguous()
    monkeypatch.setattr(data, "STREAM_LIMIT", 0)
    assert load(path).train["x"].shape == (8, *event)


def test_float_arrays_keep_their_shape(save):
    assert load(save("a.npy", np.zeros((10, 6, 5)))).train["x"].shape == (8, 6, 5)


def test_npz_carries_every_array(save):
    x, y = numbered(20), np.arange(20, dtype=np.int32) % 4
    loaded = load(save("a.npz", x=x, y=y, mask=x > 3, classes=np.array(list("abcd"))))
    assert loaded.classes == ("a", "b", "c", "d")
    assert loaded.train["y"].dtype == torch.int64
    order = (loaded.train["x"][:, 0] / 3).long()
    assert torch.equal(loaded.train["y"], order % 4)
    assert torch.equal(loaded.train["mask"], (loaded.train["x"] > 3).float())


def test_npz_already_split(save, says):
    arrays = {"x_train": numbered(20), "y_train": np.arange(20.0), "x_test": numbered(5), "y_test": np.zeros(5)}
    loaded = load(save("a.npz", **arrays), valid=0)
    assert sizes(loaded) == (20, 0, 5)
    assert torch.equal(loaded.train["x"], torch.from_numpy(numbered(20)))  # nothing to split: in file order
    assert loaded.train["y"].tolist() == list(range(20))
    held = load(save("a.npz", **arrays))
    assert sizes(held) == (18, 2, 5)
    assert torch.equal(held.train["x"][:, 0] / 3, held.train["y"].float())
    given = save("b.npz", x_train=numbered(9), x_valid=numbered(3), x_test=numbered(4))
    assert sizes(load(given)) == (9, 3, 4)
    with says(DataError, "validation split of its own", "valid=2"):
        load(given, valid=2)


def test_string_labels_are_numbered_alike_in_all_splits(save):
    y_train, y_test = np.array(["cat", "ant", "cat"]), np.array(["bee"])
    path = save("a.npz", x_train=numbered(3), y_train=y_train, x_test=numbered(1), y_test=y_test)
    loaded = load(path, valid=0)
    assert loaded.classes == ("ant", "bee", "cat")
    assert loaded.train["y"].tolist() == [2, 0, 2]
    assert loaded.test["y"].tolist() == [1]


@pytest.mark.parametrize(
    ("arrays", "error", "words"),
    [
        ({"x": np.zeros((5, 2)), "y": np.zeros(4)}, ShapeError, ["x of shape (5, 2)", "y of shape (4,)"]),
        ({"x": np.zeros((3, 2)), "y": np.eye(3)}, ShapeError, ["y", "(3, 3)", "argmax"]),
        ({"x": np.zeros((3, 2)), "scale": np.float32(1)}, ShapeError, ["scale", "no leading dimension"]),
        ({"x": np.zeros((3, 2)), "y": np.array([0, -1, 2])}, DataError, ["row 1 is -1"]),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 1, 0.5])}, DataError, ["row 2 is 0.5"]),
        ({"x": np.zeros((3, 2)), "y": np.array([0, np.nan, 1])}, DataError, ["row 1 is nan"]),
        ({"x": np.zeros((2, 2)), "y": np.arange(2), "classes": np.array(["a"])}, DataError, ["row 1 is 1", "below 1"]),
        ({"x": np.zeros((2, 2)), "y": np.array([0j, 1])}, DataError, ["y", "complex128"]),
        ({"x": np.array([["a"], ["b"]])}, DataError, ["x", "dtype <U1"]),
        ({"x": np.zeros((2, 2), complex)}, DataError, ["x", "complex128"]),
        ({"images": np.zeros((2, 2))}, DataError, ["no array 'x'", "'images'", "np.savez"]),
        ({"x_train": np.zeros((2, 2))}, DataError, ["x_test", "got x_train"]),
        ({"x_train": np.zeros((2, 2)), "x_test": np.zeros((2, 3))}, ShapeError, ["x_train", "(2, 2)", "(2, 3)"]),
        (
            {"x_train": np.zeros((2, 2)), "x_test": np.zeros((2, 2)), "y_train": np.zeros(2)},
            DataError,
            ["train has x, y; test has x"],
        ),
        ({"x_train": np.zeros((0, 2)), "x_test": np.zeros((2, 2))}, DataError, ["empty", "x_train"]),
        ({"x": np.zeros((0, 2))}, DataError, ["empty", "(0, 2)"]),
        ({"x": np.zeros((4, 0))}, DataError, ["empty", "(4, 0)"]),
        ({"x": np.array([[1.0], [1e300]])}, DataError, ["1 values", "inf", "row 1", "float32"]),
    ],
)  # fmt: skip
def test_npz_errors(arrays, error, words, save, says):
    with says(error, "a.npz", *words):
        load(save("a.npz", **arrays))


def test_not_finite_names_row_index_and_count(save, says):
    x = np.zeros((20, 2, 3))
    x[7, 1, 2], x[9, 0, 0] = np.nan, np.inf
    with says(DataError, "2 values", "nan", "row 7", "index (1, 2)", "mask"):
        load(save("a.npy", x))
