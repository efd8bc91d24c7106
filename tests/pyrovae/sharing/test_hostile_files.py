"""A folder that anyone may have made: three regular files are read, and nothing else."""

import os
import socket
from pathlib import Path

import pytest

import pyrovae
from pyrovae.errors import FolderError

NAMES = ["config.json", "model.safetensors", "README.md"]


def link_out(path, outside):
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)


def link_up(path, outside):
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to("../outside")


def link_to_itself(path, outside):
    path.unlink()
    path.symlink_to(path.name)


def link_to_nothing(path, outside):
    path.unlink()
    path.symlink_to(outside)


def link_to_zeros(path, outside):
    path.unlink()
    path.symlink_to("/dev/zero")


def link_to_a_secret(path, outside):
    path.unlink()
    path.symlink_to("/etc/passwd")


def a_folder(path, outside):
    path.unlink()
    path.mkdir()


def a_pipe(path, outside):
    path.unlink()
    os.mkfifo(path)


def a_socket(path, outside):
    path.unlink()
    with socket.socket(socket.AF_UNIX) as opened:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket is short
        opened.bind(path.name)
        os.chdir(here)


def too_large(path, outside):
    with path.open("r+b") as file:
        file.truncate(2**40)  # of zeros, which take no room on the disk


KINDS = [
    link_out,
    link_up,
    link_to_itself,
    link_to_nothing,
    link_to_zeros,
    link_to_a_secret,
    a_folder,
    a_pipe,
    a_socket,
    too_large,
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_file_that_is_no_regular_one(kind, name, saved, tmp_path):
    folder = saved()
    kind(folder.path / name, tmp_path / "outside")
    folder.refused(name)


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_file_that_is_missing(name, saved):
    folder = saved()
    (folder.path / name).unlink()
    folder.refused(name, "No such file")


def test_a_folder_without_a_card_is_a_pair(saved):
    folder = saved()
    (folder.path / "README.md").unlink()
    assert pyrovae.load(folder.path).card == ""


def test_a_card_of_any_bytes_is_text(saved):
    folder = saved()
    (folder.path / "README.md").write_bytes(b"\xff<script>")
    assert pyrovae.load(folder.path).card == "\ufffd<script>"


def test_what_else_lies_there_is_not_read(saved, monkeypatch):
    """Code and pickles that other libraries would run, in the folder that is the present one."""
    folder = saved()
    mark = folder.path / "mark"
    for name in ("pyrovae.py", "modeling.py", "sitecustomize.py", "__init__.py", "pytorch_model.bin", "torch.py"):
        (folder.path / name).write_text(f"open({str(mark)!r}, 'w')\n")
    monkeypatch.chdir(folder.path)
    pyrovae.load(".")
    assert not mark.exists()


@pytest.mark.parametrize(
    "path",
    ["", "/", "nowhere", "../nowhere", "x" * 5000, "a\0b", "config.json", "user/name/more", "~", 3, None, b"pair", []],
    ids=lambda path: ascii(path)[:15],
)
def test_a_path_that_is_no_pair(path, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with says(FolderError, "folder"):
        pyrovae.load(path)
