"""The compiler's cache: a folder that cannot be written, and files that were cut off."""

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
import torch

from pyrovae.errors import OutputError
from pyrovae.inference.compile import Compiled, EagerWarning
from pyrovae.inference.compile.lowering import cache


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The folder of the cache, as the environment has it; it is put back."""
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "cache"


def test_a_folder_that_can_be_written_stays(folder):
    for _ in range(2):
        cache.usable_cache()
        assert os.environ[cache.FOLDER] == str(folder)
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_replaced_once_and_named(folder):
    folder.touch()
    with pytest.warns(UserWarning, match=r"cannot be written .*Set TORCHINDUCTOR_CACHE_DIR"):
        cache.usable_cache()
    assert Path(os.environ[cache.FOLDER]).parent == folder.parent
    assert Path(os.environ[cache.FOLDER]).is_dir()
    with warnings.catch_warnings(action="error"):
        cache.usable_cache()


def test_without_any_folder_an_error_says_what_to_set(folder, monkeypatch, says):
    folder.touch()
    monkeypatch.setattr(tempfile, "tempdir", str(folder.parent / "none"))
    with says(OutputError, "to build an optimizer", "Set TORCHINDUCTOR_CACHE_DIR"):
        cache.usable_cache()
    call, x = Compiled(lambda x: x * 2), torch.ones(3)
    with pytest.warns(EagerWarning, match="Set TORCHINDUCTOR_CACHE_DIR"):
        assert torch.equal(call(x), 2 * x)


def test_the_folder_is_torchs(monkeypatch):
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    assert cache._default() == default_cache_dir()


def test_an_optimizer_is_built_where_the_cache_cannot_be_written(folder):
    """Torch alone raises here."""
    from pyrovae.inference.training.optimizers import make_optimizer

    folder.touch()
    with pytest.warns(UserWarning, match="cannot be written"):
        assert make_optimizer(torch.optim.Adam, {torch.ones(2, requires_grad=True): "w"})


def test_a_library_that_was_cut_off_is_found(tmp_path):
    """A file whose header says that three sections of 64 bytes begin at byte 200."""
    head = b"\x7fELF\x02" + bytes(35) + (200).to_bytes(8, "little") + bytes(10) + b"\x40\0\x03\0\0\0"
    whole = head + bytes(200 + 3 * 64 - len(head))
    path = tmp_path / "library.so"
    for size in (0, 3, 4, 5, 63, 64, 199, 200, len(whole) - 1, len(whole)):
        path.write_bytes(whole[:size])
        assert cache.is_whole(path) == (size == len(whole)), size
    path.write_bytes(b"another format")
    assert cache.is_whole(path)


def test_a_library_that_was_cut_off_is_deleted_and_not_loaded(tmp_path):
    from torch._inductor.codecache import CppCodeCache

    cut, before = tmp_path / "cut.so", CppCodeCache._load_library
    cut.write_bytes(b"\x7fELF\x02")
    with cache.checked_libraries(), pytest.raises(OSError, match="was cut off"):
        CppCodeCache._load_library(str(cut), "key")
    assert not cut.exists()
    assert CppCodeCache._load_library == before


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Failed to import /x/y.py\nSyntaxError: ..."),
        AttributeError("module 'torch._inductor.runtime.compile_tasks.cag5' has no attribute 'call'"),
        OSError(5, "Input/output error"),
        EOFError(),
    ],
    ids=repr,
)
def test_a_broken_file_is_compiled_around_and_named(error, folder):
    tried = []

    def compiled():
        tried.append(os.environ[cache.FOLDER])
        if len(tried) == 1:
            raise error
        return 7

    with pytest.warns(UserWarning, match="broken.*Delete the folder"):
        assert cache.repaired(compiled) == 7
    assert tried[0] == os.environ[cache.FOLDER] == str(folder) != tried[1]


def test_an_error_of_the_graph_is_not_tried_again():
    tried = []

    def compiled():
        tried.append(1)
        raise RuntimeError("no such operation")

    with pytest.raises(RuntimeError, match="no such operation"):
        cache.repaired(compiled)
    assert len(tried) == 1


CODE = """
import torch
from pyrovae.inference.compile import Compiled
call = Compiled(lambda x: (x * 2).sum() + x.sin().sum())
x = torch.arange(4.0)
assert call(x) == (x * 2).sum() + x.sin().sum()
print(len(call))
"""


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cache_cut_in_half_is_compiled_around_without_noise(share, tmp_path):
    """Files of a cache that a real compilation wrote; half a library made the system's loader crash."""

    def compiled(folder, said):
        env = os.environ | {cache.FOLDER: str(folder)}
        done = subprocess.run([sys.executable, "-P", "-c", CODE], env=env, capture_output=True, text=True, timeout=200)
        assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
        assert "Traceback" not in done.stderr
        assert said in (None, "are broken" in done.stderr)

    compiled(tmp_path / "whole", said=False)
    for end in (".so", ""):
        copy = tmp_path / f"cut{end}"
        shutil.copytree(tmp_path / "whole", copy)
        for file in [path for path in copy.rglob(f"*{end}") if path.is_file()]:
            os.truncate(file, int(share * file.stat().st_size))
        compiled(copy, said=False if end else True if share < 0.9 else None)  # a module may lack only what is not used
