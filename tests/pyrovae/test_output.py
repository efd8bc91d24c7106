"""Files are whole or as they were, whatever happens while they are written."""

import os

import pytest
import torch

from pyrovae.data import write_wav
from pyrovae.errors import OutputError
from pyrovae.output import write_atomically, write_text
from pyrovae.plots.figure import new_figure, save


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "a.txt"
    write_atomically(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise error(28, "broke off")

    with pytest.raises((error, OutputError)):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_whole_until_the_new_one_is(tmp_path):
    path = tmp_path / "a.txt"
    write_atomically(path, lambda file: file.write(b"old"))

    def look(file):
        file.write(b"new, and longer")
        file.flush()
        assert path.read_bytes() == b"old"

    write_atomically(path, look)
    assert path.read_bytes() == b"new, and longer"


def test_a_text_has_its_characters_and_marks_those_without_a_code(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "z ~ N(0, 1), ± 0.5, \udc80")
    assert (tmp_path / "new" / "a.txt").read_text("utf-8") == "z ~ N(0, 1), ± 0.5, ?"


@pytest.mark.parametrize(
    "write",
    [
        lambda path: save(new_figure(1, 1), path),
        lambda path: write_wav(path, torch.ones(2, 88)),
        lambda path: write_text(path, "text"),
    ],
    ids=["picture", "sound", "text"],
)
def test_a_full_disk_leaves_the_old_file(write, tmp_path, monkeypatch):
    path = tmp_path / "file"
    write(path)
    whole = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write 'file' into .*No space left"):
        write(path)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]
