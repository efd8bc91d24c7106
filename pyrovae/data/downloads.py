"""Data sets whose files torchvision downloads: MNIST and its relatives, Omniglot, CIFAR-10, SVHN."""

import io
import socket
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np

from pyrovae.data.arrays import check_rows, pictures
from pyrovae.data.dataset import SPLIT_SEED, Batch, Dataset, hold_out, shuffle
from pyrovae.data.folder import decode
from pyrovae.errors import DataError, PyrovaeError
from pyrovae.imports import imported

__all__ = ["DOWNLOADED", "load_downloaded"]

_TIMEOUT = 30.0  # seconds without an answer, after which a download gives up

_Parts = tuple[Batch, Batch, tuple[str, ...]]  # training file, test file, names of the classes


@dataclass(frozen=True)
class _Download:
    """How a set is read, where its files belong, and how many data points of its training file are held out."""

    read: Callable[[Path, bool], _Parts]
    files: str
    valid: int = 10_000
    shuffled: bool = False


def load_downloaded(name: str, root: Path, download: bool, valid: int | None) -> Dataset:
    """A data set in torchvision's files; the test split is the test file.

    Args:
        name: one of `DOWNLOADED`.
        root: the folder of the files.
        download: whether to download files that are missing.
        valid: the number of data points held out for validation; the set has its own default.

    Raises:
        DataError: files are missing or broken, or cannot be downloaded.
        MissingExtraError: torchvision, or for SVHN scipy, is not installed.
    """
    chosen = _DOWNLOADS[name]
    # torchvision opens its connections without a time limit, and some firewalls drop packets without an answer.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        pool, test, classes = chosen.read(root, download)
    except PyrovaeError:
        raise
    except Exception as error:  # torchvision raises all kinds for a missing, broken or unreachable file
        raise DataError(
            f"{name} could not be loaded: {type(error).__name__}: {str(error).strip()}\n"
            f"Without a network, use the digits: --data digits, load('digits'). Or put the files there yourself: "
            f"{root / chosen.files} (delete a broken one). The folder {root} is the argument root, else "
            f"$PYROVAE_DATA, else the user's cache; download={download}."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    for batch in (pool, test):
        check_rows(batch, name)
    held_out = chosen.valid if valid is None else valid
    if chosen.shuffled and held_out:
        pool = shuffle(pool)
    train, held = hold_out(pool, held_out)
    how = f"random (seed {SPLIT_SEED})" if chosen.shuffled else "last"
    source = f"torchvision files in {root}; validation is the {how} {held_out:,} of the training file"
    return Dataset(train, held, test, name, source, classes)


def _idx(kind: str, root: Path, download: bool) -> _Parts:
    """The sets that torchvision keeps as `data` and `targets`: MNIST, its relatives, CIFAR-10."""
    make = getattr(_torchvision(), kind)
    train, test = (make(root, train=part, download=download) for part in (True, False))
    classes = tuple("0123456789") if kind == "MNIST" else tuple(train.classes)
    return pictures(train.data, train.targets), pictures(test.data, test.targets), classes


def _svhn(root: Path, download: bool) -> _Parts:
    imported("scipy.io", "load('svhn') requires", "pyrovae[data]")  # torchvision reads .mat files with it
    train, test = (_torchvision().SVHN(root, split=part, download=download) for part in ("train", "test"))
    return pictures(train.data, train.labels), pictures(test.data, test.labels), tuple("0123456789")


def _omniglot(root: Path, download: bool) -> _Parts:
    # The archives are read directly. torchvision lists the unpacked folders in the order of the file system, which
    # differs between machines, and with it the labels.
    omniglot, utils = (
        _torchvision().Omniglot,
        imported("torchvision.datasets.utils", "load('omniglot') requires", "torchvision"),
    )
    folder = root / omniglot.folder
    contents = []
    for archive, md5 in omniglot.zips_md5.items():
        if download:
            utils.download_url(f"{omniglot.download_url_prefix}/{archive}.zip", folder, f"{archive}.zip", md5)
        if not utils.check_integrity(folder / f"{archive}.zip", md5):
            raise FileNotFoundError(f"{archive}.zip is missing or broken")
        contents.append(_read_drawings(folder / f"{archive}.zip"))
    classes = tuple(character for _, characters in contents for character in dict.fromkeys(characters))
    index = {character: i for i, character in enumerate(classes)}
    train, test = (pictures(x, [index[c] for c in characters]) for x, characters in contents)
    return train, test, classes


def _read_drawings(archive: Path) -> tuple[np.ndarray, list[str]]:
    """Drawings `(N, 28, 28)` with ink at 255, and the character, `alphabet/character`, of each."""
    with zipfile.ZipFile(archive) as files:
        names = sorted(name for name in files.namelist() if name.endswith(".png"))
        drawings = [decode(io.BytesIO(files.read(name)), (28, 28))[0] for name in names]
    return 255 - np.stack(drawings), ["/".join(name.split("/")[1:3]) for name in names]


def _torchvision() -> ModuleType:
    return imported("torchvision.datasets", "This data set requires", "torchvision")


_DOWNLOADS = {
    "mnist": _Download(partial(_idx, "MNIST"), "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte"),
    "fashion-mnist": _Download(
        partial(_idx, "FashionMNIST"), "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte"
    ),
    "kmnist": _Download(partial(_idx, "KMNIST"), "KMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte"),
    "omniglot": _Download(_omniglot, "omniglot-py/{images_background,images_evaluation}.zip", 1_345, shuffled=True),
    "cifar10": _Download(partial(_idx, "CIFAR10"), "cifar-10-batches-py/{data_batch_1..5,test_batch,batches.meta}"),
    "svhn": _Download(_svhn, "{train,test}_32x32.mat"),
}

DOWNLOADED = tuple(_DOWNLOADS)
"""The names of these sets."""
