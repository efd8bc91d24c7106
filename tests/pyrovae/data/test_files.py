"""The user's own files: broken, memory-mapped, tables."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrovae import data
from pyrovae.data import Scale, load
from pyrovae.errors import DataError, ShapeError


def sizes(dataset):
    return tuple(len(batch["x"]) for batch in dataset.splits.values())


def numbered(n, width=3):
    """An array whose rows are all different."""
    return np.arange(n * width, dtype=np.float32).reshape(n, width)


def test_frey_faces(shared):
    faces = load(shared("freyfaces.npy"))
    assert sizes(faces) == (1965 - 2 * 196, 196, 196)
    assert faces.train["x"].shape[1:] == (1, 28, 20)
    assert 8 <= faces.train["x"].min() < faces.train["x"].max() <= 238


def test_object_arrays_are_never_unpickled(tmp_path, save, says):
    x = np.array([{"a": 1}, None], dtype=object)
    np.save(tmp_path / "a.npy", x, allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=x, allow_pickle=True)
    for name in ("a.npy", "a.npz"):
        with says(DataError, name, "Object arrays", "pickle", "np.save"):
            load(str(tmp_path / name))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_missing_empty_and_foreign_files(tmp_path, suffix, says):
    path = tmp_path / f"a{suffix}"
    with says(DataError, "No such file", str(path)):
        load(path)
    path.write_bytes(b"")
    with says(DataError, "a" + suffix, "empty"):
        load(path)
    path.write_bytes(b"\x93NUMPY\x01\x00\xff\xfe")
    with says(DataError, "a" + suffix):
        load(path)


@pytest.mark.parametrize("limit", [2**30, 0])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_truncated_files(name, limit, monkeypatch, save, says):
    monkeypatch.setattr(data, "STREAM_LIMIT", limit)
    path = Path(save("a.npz", x=numbered(99)) if name == "a.npz" else save(name, numbered(99)))
    path.write_bytes(path.read_bytes()[:-200])
    with says(DataError, str(path), "cannot be read", "truncated"):
        load(path)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_flipped_bytes_never_escape_as_an_untyped_error(name, save):
    path = Path(save("a.npz", x=numbered(9)) if name == "a.npz" else save(name, numbered(9)))
    whole = path.read_bytes()
    for place in range(len(whole) // 2):
        path.write_bytes(whole[:place] + b"(" + whole[place + 1 :])
        with contextlib.suppress(DataError, ShapeError):
            load(path)


def test_a_file_of_the_other_kind_is_told_its_name(tmp_path, save, says):
    save("a.npz", x=numbered(3))
    (tmp_path / "a.npz").rename(tmp_path / "b.npy")
    with says(DataError, "Rename it to b.npz"):
        load(tmp_path / "b.npy")
    save("c.npy", numbered(3))
    (tmp_path / "c.npy").rename(tmp_path / "d.npz")
    with says(DataError, "Rename it to d.npy"):
        load(tmp_path / "d.npz")


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the resident size from /proc")
def test_a_large_file_is_mapped_and_not_read(tmp_path, monkeypatch):
    path = tmp_path / "large.npy"
    big = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(60_000, 64, 64))  # 246 MB, sparse
    big[59_999] = 7
    del big
    monkeypatch.setattr(data, "STREAM_LIMIT", 2**20)
    before = resident()
    loaded = load(path)
    batch = Scale()({"x": loaded.test["x"][-8:]})["x"]
    assert resident() - before < 2**27  # a kernel maps up to 2 MB around each row that is looked at
    assert sizes(loaded) == (48_000, 6_000, 6_000)
    assert loaded.streamed
    assert batch[-1].mean().item() == pytest.approx(7 / 255)
    start = loaded.train["x"].data_ptr()
    assert loaded.valid["x"].data_ptr() - start == 48_000 * 4096  # one map, split in place
    assert loaded.test["x"].data_ptr() - start == 54_000 * 4096
    for words in ("memory-mapped", "contiguously", "not shuffled"):
        assert words in loaded.source


def test_a_streamed_file_is_never_written(monkeypatch, save):
    monkeypatch.setattr(data, "STREAM_LIMIT", 0)
    path = Path(save("a.npy", numbered(10)))
    before = path.read_bytes()
    loaded = load(path, valid=0)
    assert sizes(loaded) == (9, 0, 1)
    loaded.train["x"].zero_()
    assert path.read_bytes() == before


def test_streaming_errors(monkeypatch, save, says):
    monkeypatch.setattr(data, "STREAM_LIMIT", 0)
    with says(DataError, "float64", "STREAM_LIMIT", "float32"):
        load(save("a.npy", np.zeros((9, 2))))
    with says(DataError, "valid=9", "valid=0"):
        load(save("b.npy", numbered(9)), valid=9)


def csv_file(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_without_header(tmp_path):
    loaded = load(csv_file(tmp_path, "1,2\n3,4\n\n5,6e-1\n"), valid=0)
    assert list(loaded.train) == ["x"]
    assert loaded.train["x"].dtype == torch.float32
    assert sorted(loaded.train["x"].tolist()) == [[1, 2], [3, 4], [5, pytest.approx(0.6)]]


@pytest.mark.parametrize("name", ["y", "label", " Label"])
def test_csv_with_integer_labels(tmp_path, name):
    loaded = load(csv_file(tmp_path, f"a,{name},b\n1,7,2\n3,8.0,4\n"), valid=0)
    assert {(*x, y) for x, y in zip(loaded.train["x"].tolist(), loaded.train["y"].tolist(), strict=True)} == {
        (1.0, 2.0, 7),
        (3.0, 4.0, 8),
    }
    assert loaded.classes is None


def test_csv_with_named_classes(tmp_path):
    loaded = load(csv_file(tmp_path, "\ufeffy,a\nwolf,1\nbear,2\nwolf,3\n"), valid=0)
    assert loaded.classes == ("bear", "wolf")
    assert dict(zip(loaded.train["x"].flatten().tolist(), loaded.train["y"].tolist(), strict=True)) == {
        1: 1,
        2: 0,
        3: 1,
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n\n", ["empty"]),
        ("a,b\n", ["empty"]),
        ("a,b\n1,2\n3\n", ["row 1 has 1 cells", "has 2"]),
        ("a,b\n1,2\n3,four\n", ["row 1", "column 'b'", "'four'", "label"]),
        ("y,a,b\n0,1,2\n1,3,\n", ["1 values", "nan", "row 1", "column 'b'"]),
        ("1,2\n3,inf\n", ["inf", "row 1", "column '1'"]),
        ("1,2\n3,1e300\n", ["inf", "row 1", "column '1'", "float32"]),
        ("a,y\n1,0\n2,-3\n", ["row 1 is -3"]),
        ("a,y\n1,0\n2,0.5\n", ["row 1 is 0.5"]),
        ("a,y\n1,cat\n2,\n", ["row 1 has no label"]),
        (",a\n0,1\n1,2\n", ["no name", "index=False"]),
        ("a,y,label\n1,0,0\n", ["more than one label column"]),
        ("y\n1\n", ["label column only"]),
    ],
)
def test_csv_errors(tmp_path, text, words, says):
    with says(DataError, "t.csv", *words):
        load(csv_file(tmp_path, text))
