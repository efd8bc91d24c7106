"""What the tests of the data share."""

import os
from pathlib import Path

import numpy as np
import pytest

from pyrovae.data import load

DATA = Path(os.environ.get("PYROVAE_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")


@pytest.fixture
def save(tmp_path):
    """Save one array as `.npy`, or named ones as `.npz`, under the test's folder; gives the path."""

    def write(name, *args, **arrays):
        path = tmp_path / name
        np.savez(path, **arrays) if arrays else np.save(path, *args)
        return str(path)

    return write


@pytest.fixture
def shared():
    """A path among the shared data files; the test is skipped where there is none."""

    def find(path):
        if not (DATA / path).exists():
            pytest.skip(f"PYROVAE_DATA has no {path}")
        return DATA / path

    return find


@pytest.fixture(scope="session")
def digits():
    return load("digits")
