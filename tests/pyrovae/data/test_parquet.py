"""Parquet files: read like a `.csv`, or converted once to a memory map."""

import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch

from pyrovae import data
from pyrovae.data import load
from pyrovae.errors import DataError, MissingExtraError, ShapeError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def write(tmp_path):
    """Writes a Parquet file of columns, and gives its path."""

    def write(name="t.parquet", **columns):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path, row_group_size=40)
        return path

    return write


@pytest.fixture
def mapped(monkeypatch, tmp_path):
    """Every file is converted, below a folder of its own."""
    monkeypatch.setattr(data, "STREAM_LIMIT", 0)
    monkeypatch.setattr("pyrovae.data.parquet._CHUNK", 500)
    monkeypatch.setenv("PYROVAE_DATA", str(tmp_path / "root"))
    return tmp_path / "root" / "converted"


def columns(size=100):
    return {"a": np.arange(size) + 0.5, "b": -np.arange(size), "label": ["even", "odd"] * (size // 2)}


def test_a_file_is_read_as_a_csv_is(write):
    found = load(write(**columns()))
    assert found.describe().startswith(f"{found.name}: 80 train / 10 valid / 10 test; x float32 (2,), y int64 ()")
    assert found.classes == ("even", "odd")
    everything = torch.cat([split["x"] for split in found.splits.values()])
    assert everything[:, 0].sort().values.tolist() == [row + 0.5 for row in range(100)]
    assert ((found.train["x"][:, 1].long() % 2 != 0) == found.train["y"].bool()).all()
    assert not found.streamed


def test_a_large_file_is_converted_once(write, mapped, capsys):
    path = write(**columns())
    found = load(path)
    assert "converting 100 rows once to a memory map" in capsys.readouterr().err
    assert found.streamed
    assert found.classes == ("even", "odd")
    assert found.train["x"].tolist() == [[row + 0.5, -row] for row in range(80)]
    assert found.valid["y"].tolist() == [0, 1] * 5
    assert str(mapped) in found.source
    again = load(path)
    assert capsys.readouterr().err == ""
    assert torch.equal(again.test["x"], found.test["x"])
    path.unlink()
    load(write(**columns(60)))
    assert "converting 60 rows" in capsys.readouterr().err
    assert len([folder for folder in mapped.iterdir() if folder.is_dir()]) == 2


@pytest.mark.parametrize("limit", [0, 2**30])
def test_a_folder_of_files(write, mapped, monkeypatch, limit):
    monkeypatch.setattr(data, "STREAM_LIMIT", limit)
    for part in range(3):
        path = write(f"many.parquet/part-{part}.parquet", x=[[part * 10.0 + row, 0.0] for row in range(10)])
    found = load(path.parent, valid=0, test=5)
    assert len(found.train["x"]) == 25
    assert torch.cat([found.train["x"], found.test["x"]])[:, 0].sort().values.tolist() == list(range(30))


@pytest.mark.parametrize("limit", [0, 2**30])
def test_files_that_are_named_after_splits(write, mapped, monkeypatch, limit, says):
    monkeypatch.setattr(data, "STREAM_LIMIT", limit)
    for name, size in (("train-0", 6), ("train-1", 4), ("validation-0", 2), ("test-0", 3)):
        path = write(f"hub/{name}-of-2.parquet", x=[[0.0, row] for row in range(size)], y=[0] * size)
    found = load(path.parent)
    assert [len(split["x"]) for split in found.splits.values()] == [10, 2, 3]
    with says(DataError, "a test split of its own", "test=3"):
        load(path.parent, test=3)


def test_bytes_are_images(write, mapped):
    found = load(
        write(x=pa.array(np.arange(20 * 4, dtype=np.uint8).reshape(20, 2, 2).tolist(), pa.list_(pa.list_(pa.uint8()))))
    )
    assert found.train["x"].shape == (16, 1, 2, 2)
    assert found.train["x"].dtype == torch.uint8


def test_a_conversion_that_was_killed_is_made_anew(write, mapped, monkeypatch):
    path = write(**columns())
    with monkeypatch.context() as patch:
        patch.setattr("pyrovae.data.parquet.shutil.rmtree", lambda *_, **__: None)
        patch.setattr("pyrovae.data.parquet.ParquetFiles._checked", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load(path)
    assert [folder.name[0] for folder in mapped.iterdir() if folder.is_dir()] == ["."]
    assert len(load(path).train["x"]) == 80
    assert [folder.name[0] for folder in mapped.iterdir() if folder.is_dir()] == ["t"]


def test_a_full_disk_is_named_before_anything_is_written(write, mapped, monkeypatch, says):
    usage = namedtuple("usage", "total used free")(10, 10, 2**28)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with says(DataError, "requires 0.0 MiB of the disk", "256.0 MiB free", "root="):
        load(write(**columns()))
    assert not [folder for folder in mapped.iterdir() if folder.is_dir()]


@pytest.mark.parametrize("limit", [0, 2**30])
@pytest.mark.parametrize(
    ("columns", "error", "words"),
    [
        ({"a": [1.0] * 9, "city": ["Ulm"] * 9}, DataError, ["string", "column 'city'", "name it 'label'"]),
        ({"a": [[1.0, 2.0]] * 8 + [[3.0]]}, ShapeError, ["lists of one length in column 'a'", "1 to 2"]),
        ({"a": [1.0] * 8 + [None]}, DataError, ["1 missing", "'a'"]),
        ({"a": [1.0] * 8 + [np.inf]}, DataError, ["not finite"]),
        ({"a": [1.0] * 9, "y": [-1] * 9}, DataError, ["label is an integer from 0"]),
        ({"a": pa.array([], pa.float32())}, DataError, ["empty", "no row"]),
    ],
)
def test_what_is_no_number_is_named(write, mapped, monkeypatch, limit, columns, error, words, says):
    monkeypatch.setattr(data, "STREAM_LIMIT", limit)
    with says(error, "t.parquet", *words):
        load(write(**columns))
    assert not mapped.exists() or not [folder for folder in mapped.iterdir() if folder.is_dir()]


def test_lists_of_other_lengths_in_a_later_part_are_named(write, mapped, says):
    with says((DataError, ShapeError), "t.parquet", "(2,)", "(3,)"):
        load(write(a=[[1.0, 2.0]] * 62 + [[1.0, 2.0, 3.0]] * 62))


def test_a_truncated_file_is_named(write, says):
    path = write(**columns())
    whole = path.read_bytes()
    for part in (whole[:-9], whole[: len(whole) // 2], b"", b"PAR1"):
        path.write_bytes(part)
        with says(DataError, str(path), "cannot be read as Parquet"):
            load(path)
    path.write_bytes(whole[:50] + bytes(200) + whole[250:])
    with says(DataError, str(path)):
        load(path)


def test_files_with_other_columns_are_named(write, says):
    write("many/1.parquet", a=[1.0])
    path = write("many/2.parquet", b=[1.0])
    with says(DataError, "the same columns", "1.parquet", "2.parquet"):
        load(path.parent)


def test_what_is_not_there_is_named(tmp_path, says, monkeypatch):
    with says(DataError, "No such file", "none.parquet"):
        load(tmp_path / "none.parquet")
    (tmp_path / "empty.parquet").mkdir()
    with says(DataError, "No Parquet file"):
        load(tmp_path / "empty.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with says(MissingExtraError, "Parquet", "pip install 'pyrovae[data]'"):
        load(tmp_path / "none.parquet")
