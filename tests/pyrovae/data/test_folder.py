"""Folders of images: classes, splits, sizes, broken files."""

import sys

import numpy as np
import pytest
import torch

from pyrovae.data import load
from pyrovae.errors import DataError, MissingExtraError, ShapeError


def sizes(dataset):
    return tuple(len(batch["x"]) for batch in dataset.splits.values())


@pytest.fixture
def paint():
    images = pytest.importorskip("PIL.Image")

    def draw(path, size=(5, 4), mode="RGB"):
        path.parent.mkdir(parents=True, exist_ok=True)
        images.new(mode, (size[1], size[0])).save(path)

    return draw


def test_a_folder_of_class_folders(shared):
    loaded = load(f"folder:{shared('cifar10-jpg') / 'test'}")
    assert sizes(loaded) == (800, 100, 100)
    assert loaded.train["x"].shape[1:] == (3, 32, 32)
    assert loaded.train["x"].dtype == torch.uint8
    assert loaded.classes[:3] == ("airplane", "automobile", "bird")
    assert torch.bincount(torch.cat([b["y"] for b in loaded.splits.values()])).tolist() == [100] * 10
    again = load(f"folder:{shared('cifar10-jpg') / 'test'}", size=(8, 16))
    assert again.train["x"].shape == (800, 3, 8, 16)
    assert torch.equal(again.train["y"], loaded.train["y"])


def test_a_folder_of_splits(tmp_path, paint):
    for part, n in (("train", 4), ("val", 2), ("test", 1)):
        for i in range(n):
            paint(tmp_path / part / ("ab"[i % 2]) / f"{i}.png")
    loaded = load(f"folder:{tmp_path}")
    assert sizes(loaded) == (4, 2, 1)
    assert loaded.classes == ("a", "b")
    assert loaded.train["y"].tolist() == [0, 0, 1, 1]
    assert loaded.test["y"].tolist() == [0]


def test_grey_folders_have_one_channel_and_mixed_ones_three(tmp_path, paint, says):
    for i, name in enumerate(("a.PNG", "deep/er/b.bmp", "deep/c.gif", "deep/d.tiff", "deep/e.webp", "deep/f.jpeg")):
        paint(tmp_path / "in" / name, mode="L" if i != 4 else "RGB")
    paint(tmp_path / "in" / ".hidden.png")
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    grey = tmp_path / "grey"
    paint(grey / "a.png", mode="L")
    paint(grey / "b.png", mode="1")
    loaded = load(f"folder:{grey}", valid=0)
    assert loaded.train["x"].shape == (2, 1, 5, 4)
    assert loaded.classes is None
    with says(DataError, "class folders", "Move all"):
        load(f"folder:{tmp_path / 'in'}")
    (tmp_path / "in" / "a.PNG").unlink()
    assert load(f"folder:{tmp_path / 'in'}", valid=0).train["x"].shape == (5, 3, 5, 4)


def test_folder_errors(tmp_path, paint, says):
    with says(DataError, "No such folder", "nowhere"):
        load(f"folder:{tmp_path / 'nowhere'}")
    with says(DataError, "No image in", ".png", "every depth"):
        load(f"folder:{tmp_path}")
    paint(tmp_path / "a.png")
    paint(tmp_path / "b.png", size=(7, 4))
    with says(ShapeError, "(5, 4)", "a.png", "(7, 4)", "b.png", "size=64", "--image-size"):
        load(f"folder:{tmp_path}")
    assert load(f"folder:{tmp_path}", size=6, valid=0).train["x"].shape == (2, 3, 6, 6)
    for size in (0, (3,), 2.5, (4, -1)):
        with says(DataError, "size is a positive integer"):
            load(f"folder:{tmp_path}", size=size)


def test_broken_images_are_named(tmp_path, paint, save, says):
    paint(tmp_path / "a.png", size=(50, 40), mode="RGB")
    (tmp_path / "b.jpg").write_bytes(b"no image at all")
    with says(DataError, "b.jpg", "not a readable image"):
        load(f"folder:{tmp_path}")
    (tmp_path / "b.jpg").unlink()
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with says(DataError, "a.png", "not a readable image"):
        load(f"folder:{tmp_path}")
    pixels = np.full((5, 4), 4000, np.uint16)
    pytest.importorskip("PIL.Image").fromarray(pixels).save(tmp_path / "a.png")
    with says(DataError, "a.png", "8 bits"):
        load(f"folder:{tmp_path}")


def test_images_need_pillow(tmp_path, paint, monkeypatch, says):
    paint(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL.ImageOps", None)
    with says(MissingExtraError, "Images require PIL", "pip install 'Pillow'"):
        load(f"folder:{tmp_path}")
