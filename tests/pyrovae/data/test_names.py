"""Names that are none, and sources that the file system does not give."""

from pathlib import Path

import pytest
import torch

from pyrovae.data import Dataset, load
from pyrovae.errors import DataError


@pytest.mark.parametrize("name", [None, 3, b"digits", ["digits"], torch.zeros(2)])
def test_a_name_is_text_or_a_path(name, says):
    with says(DataError, "load requires the name of a data set, or a path", "load('digits')"):
        load(name)


@pytest.mark.parametrize("name", ["a" * 5000, "a" * 300 + ".npy", "a\0.npy", "\udc80.csv", "folder:" + "a" * 5000, ""])
def test_names_that_no_file_has(name):
    with pytest.raises(DataError):
        load(name)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch, says):
    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with says(DataError, str(tmp_path), "cannot be read", "Permission denied"):
        load(f"folder:{tmp_path}")


def test_a_data_set_without_x_describes_itself():
    batch = {"w": torch.zeros(3, 2)}
    shown = repr(Dataset(batch, {}, batch, "some", "drawn"))
    assert "3 train / 0 valid / 3 test" in shown
    assert "w float32 (2,)" in shown
