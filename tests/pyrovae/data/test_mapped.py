"""A mapped file that changes while it is used is named before its bytes are taken for data."""

import gc
import os

import numpy as np
import pytest
import torch

from pyrovae import data
from pyrovae.data import check_unchanged, mapped
from pyrovae.errors import DataError
from pyrovae.guides import NormalGuide
from pyrovae.inference import encode, evaluate, fit
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A file that is mapped, however small."""
    monkeypatch.setattr(data, "STREAM_LIMIT", 0)
    path = tmp_path / "large.npy"
    np.save(path, np.random.default_rng(0).normal(size=(1000, 4)).astype("float32"))
    return path


@pytest.fixture
def pair():
    torch.manual_seed(0)
    likelihood = likelihoods.Normal(4)
    model = VAE(priors.StandardNormal(2), likelihood, MLP(2, likelihood.params_shape, (4,)))
    return model, NormalGuide(MLP(4, 4, (4,)))


def overwrite(path):
    with path.open("r+b") as file:
        file.seek(200)
        file.write(bytes(range(100)))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # a clock may be too coarse for so quick a test


def shorten(path):
    os.truncate(path, 4000)


CHANGES = [overwrite, shorten]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_named_where_data_are_read(path, pair, change, says):
    """Without the check, the shortened file kills the process by SIGBUS."""
    loaded = data.load(path)
    expected = evaluate(*pair, loaded.test, num_samples=2).elbo.value
    assert evaluate(*pair, loaded.test, num_samples=2).elbo.value == expected
    change(path)
    for read in (
        lambda: check_unchanged(loaded.test),
        lambda: check_unchanged({"x": loaded.train["x"][5:7].T}),
        lambda: evaluate(*pair, loaded.test, num_samples=2),
        lambda: encode(*pair, loaded.test),
        lambda: fit(*pair, loaded, epochs=1, progress=False, device="cpu"),
    ):
        with says(DataError, str(path), "changed while it was used", "16,128", "Load it again"):
            read()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_during_training_ends_it(path, pair, change, says):
    loaded, seen = data.load(path), []

    def batches(generator):
        seen.append(True)
        if len(seen) == 3:
            change(path)
        return list(torch.randperm(len(loaded.train["x"]), generator=generator).split(100))

    with says(DataError, str(path), "changed while it was used"):
        fit(*pair, loaded, epochs=5, batches=batches, progress=False, device="cpu", compile=False)
    assert len(seen) == 3


def test_a_file_that_is_replaced_or_removed_stays_as_it_was(path, pair):
    loaded = data.load(path)
    expected = encode(*pair, loaded.test)["z"]
    other = path.with_name("other.npy")
    np.save(other, np.zeros((3, 4), "float32"))
    other.replace(path)
    assert torch.equal(encode(*pair, loaded.test)["z"], expected)
    path.unlink()
    assert torch.equal(encode(*pair, loaded.test)["z"], expected)


def test_a_file_is_watched_as_long_as_a_tensor_of_it_lives(path):
    gc.collect()
    before = len(mapped._MAPS)
    loaded = data.load(path)
    part = loaded.valid["x"][:3]
    assert len(mapped._MAPS) == before + 1
    del loaded
    gc.collect()
    assert len(mapped._MAPS) == before + 1
    del part
    gc.collect()
    assert len(mapped._MAPS) == before
