"""Bombs: files that are small on disk and large in memory are refused before the memory is taken."""

import resource
import tracemalloc
import zipfile

import numpy as np
import pytest

from pyrovae.data import LOAD_LIMIT, load
from pyrovae.errors import DataError, SettingError


@pytest.fixture
def refused(says):
    """Loads a file that is refused, and gives the peak of the memory that Python and NumPy took."""

    def refused(path, *words, **options):
        tracemalloc.start()
        with says(DataError, "in memory", "max_bytes", "--max-bytes", *words):
            load(path, **options)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    return refused


def test_an_archive_that_grows_is_refused(tmp_path, refused):
    """A file of less than 2 MB that holds 300 MB of zeros."""
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (300, 2**20)})
        for _ in range(300):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**21
    assert refused(path, "bomb.npz", "300.0 MiB", "128.0 MiB", max_bytes=2**27) < 2**23
    assert LOAD_LIMIT == 2**31


def test_the_sum_of_the_arrays_counts(tmp_path, refused):
    path = tmp_path / "many.npz"
    np.savez_compressed(path, **{name: np.zeros((1000, 100), np.uint8) for name in ("x", "a", "b")})
    refused(path, max_bytes=250_000)
    assert len(load(path, max_bytes=301_000, valid=0, test=0).train["x"]) == 1000


def test_a_header_that_lies_about_the_size_is_refused(tmp_path, refused):
    path = tmp_path / "liar.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**3)})
        file.write(bytes(100))
    single = tmp_path / "liar.npy"
    with single.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**3)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for liar in (path, single):
        assert refused(liar, liar.name, "7,450.6 GiB") < 2**22
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


@pytest.mark.parametrize(("name", "text"), [("t.csv", "1,2\n" * 1000), ("t.txt", "a b\n" * 1000)])
def test_long_text_files_are_refused(tmp_path, refused, name, text):
    (tmp_path / name).write_text(text)
    refused(tmp_path / name, name, max_bytes=1000)


def test_one_long_sentence_widens_all(tmp_path, refused):
    path = tmp_path / "t.txt"
    path.write_text("\n".join([f"w{i} w{i}" for i in range(1000)] + ["w0 " * 150]))
    refused(path, max_bytes=10**6)  # 1,001 sentences of 151 tokens of 8 bytes
    assert load(path, max_bytes=2 * 10**6).train["x"].shape[1] == 151


def test_images_that_grow_are_refused(tmp_path, refused):
    images = pytest.importorskip("PIL.Image")
    for i in range(4):
        images.new("RGB", (1000, 1000)).save(tmp_path / f"{i}.png")
    refused(f"folder:{tmp_path}", "The images in", max_bytes=10**7)
    assert refused(f"folder:{tmp_path}", "0.png", size=8, max_bytes=10**6) < 2**20  # before it is decoded
    assert load(f"folder:{tmp_path}", size=8, max_bytes=10**7).train["x"].shape[1:] == (3, 8, 8)


def test_an_image_of_too_many_pixels_is_named(tmp_path, says):
    images = pytest.importorskip("PIL.Image")
    images.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 2**17
    with says(DataError, "bomb.png", "exceeds limit"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize("limit", [0, -1, 1.5, None, "2GB"])
def test_a_limit_without_a_meaning(limit, says):
    with says(SettingError, "max_bytes requires a whole number"):
        load("digits", max_bytes=limit)
