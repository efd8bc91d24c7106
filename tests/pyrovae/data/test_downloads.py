"""Data sets that torchvision downloads: sizes, splits, labels, and the error of a failed download."""

import hashlib
import io
import pickle
import socket
import sys
import zipfile

import numpy as np
import pytest
import torch

from pyrovae.data import excerpt, load
from pyrovae.errors import DataError, MissingExtraError, ShapeError


def sizes(dataset):
    return tuple(len(batch["x"]) for batch in dataset.splits.values())


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
    with says(DataError, name, "no such host", "--data digits", "yourself", str(tmp_path), "PYROVAE_DATA"):
        load(name, tmp_path)
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    ("module", "name", "line"),
    [
        ("torchvision.datasets", "mnist", "pip install 'torchvision'"),
        ("torchvision.datasets", "omniglot", "pip install 'torchvision'"),
        ("scipy.io", "svhn", "pip install 'pyrovae[data]'"),
    ],
)
def test_a_missing_package_names_what_to_install(module, name, line, tmp_path, monkeypatch, says):
    monkeypatch.setitem(sys.modules, module, None)
    with says(MissingExtraError, module.partition(".")[0], line):
        load(name, tmp_path, download=False)


def test_without_download_missing_files_are_an_error(tmp_path, says):
    with says(DataError, "MNIST/raw/", "idx3", "download=False", "--data digits"):
        load("mnist", tmp_path, download=False)


def test_a_truncated_mnist_file_is_an_error(tmp_path, says):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for kind in ("train", "t10k"):
        (raw / f"{kind}-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03\x00\x00")
        (raw / f"{kind}-labels-idx1-ubyte").write_bytes(b"")
    with says(DataError, "mnist", "delete a broken one"):
        load("mnist", tmp_path)


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
    with says(ShapeError, "kmnist", "(8, 1, 28, 28)", "y of shape (7,)"):
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
