"""Unknown names, arguments that do not fit, and the cost of the import."""

import subprocess
import sys

import numpy as np
import pytest

from pyrovae.data import load
from pyrovae.errors import DataError


def numbered(n, width=3):
    """An array whose rows are all different."""
    return np.arange(n * width, dtype=np.float32).reshape(n, width)


@pytest.mark.parametrize(("wrong", "right"), [("minst", "mnist"), ("digts", "digits"), ("CIFAR-10", "cifar10")])
def test_an_unknown_name_is_told_the_nearest(wrong, right, says):
    with says(DataError, repr(wrong), f"nearest name is '{right}'", "folder:PATH", "PATH.npy", "omniglot"):
        load(wrong)


def test_a_bare_folder_is_told_to_say_folder(tmp_path, says):
    with says(DataError, "is a folder", f"folder:{tmp_path}"):
        load(tmp_path)


def test_a_folder_of_the_name_of_a_data_set_changes_nothing(tmp_path, monkeypatch):
    (tmp_path / "chords").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("chords").origin.arguments["name"] == "chords"


def test_size_is_for_folders_only(says):
    with says(DataError, "size=28", "folder:PATH", "digits"):
        load("digits", size=28)


@pytest.mark.parametrize("valid", [-1, 90, 0.1, True, "9"])
def test_valid_is_a_count(valid, save, says):
    with says(DataError, "90 training data", "valid=0", "valid=9", f"got valid={valid!r}"):
        load(save("a.npy", numbered(100)), valid=valid)


def test_the_test_split_has_the_size_asked_for(save):
    path = save("a.npy", numbered(1965))
    assert [len(batch["x"]) for batch in load(path, valid=200, test=200).splits.values()] == [1565, 200, 200]


@pytest.mark.parametrize("test", [-1, 100, 0.1])
def test_test_is_a_count(test, save, says):
    with says(DataError, "test=10", f"got test={test!r}"):
        load(save("a.npy", numbered(100)), test=test)


def test_data_that_come_split_take_no_test_size(save, says):
    with says(DataError, "digits", "test split of its own", "test=5"):
        load("digits", test=5)
    with says(DataError, "test split of its own", "test=5"):
        load(save("a.npz", x_train=numbered(9), x_test=numbered(4)), test=5)


def test_the_import_needs_no_optional_package():
    code = """
import sys, numpy, torch, pyrovae
before = set(sys.modules)
import pyrovae.data
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*(new - sys.stdlib_module_names - {"numpy", "torch", "pyrovae"}))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
