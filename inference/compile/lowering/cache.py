"""The compiler's cache on the disk: a folder that cannot be written, and files that were cut off.

Torch makes the folder when an optimizer is built, compiled or not, so a folder that cannot be made stops all training.
It writes files whole, but a full disk or a crash may cut them off, and the system's loader may crash on half a library.
"""

import atexit
import getpass
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

__all__ = ["checked_libraries", "is_whole", "repaired", "usable_cache"]

T = TypeVar("T")

FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""The environment variable by which torch finds the folder."""


def usable_cache() -> None:
    """Point torch to a temporary folder, with a warning, where it cannot write into the folder of its cache."""
    try:
        folder = os.environ.get(FOLDER) or _default()
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        # Without a temporary folder nothing can be compiled; torch is content with one that exists.
        other = _temporary() or os.sep
        os.environ[FOLDER] = other
        warnings.warn(
            f"The folder of torch's compiled code cannot be written ({error}), so this process uses {other!r}. Set "
            f"{FOLDER} to a folder that you may write.",
            stacklevel=2,
        )


def _default() -> str:
    """Torch's choice. Importing the module that knows it makes the folder."""
    try:
        user = getpass.getuser()
    except (KeyError, ImportError, OSError):
        user = f"uid_{os.getuid()}" if hasattr(os, "getuid") else "unknown_user"
    return str(Path(tempfile.gettempdir()) / ("torchinductor_" + re.sub(r'[\\/:*?"<>|]', "_", user)))


def _temporary() -> str | None:
    """A folder that lasts as long as this process."""
    try:
        folder = tempfile.mkdtemp(prefix="pyrovae_compiled_")
    except OSError:
        return None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def repaired(compile: Callable[[], T]) -> T:
    """What `compile()` gives; where files of the cache are broken, it compiles once more into a new folder.

    Args:
        compile: compiles a graph with torch's cache.
    """
    with mock.patch.object(sys, "unraisablehook"):  # what torch left half made complains as it goes
        try:
            return compile()
        except Exception as error:
            if not _is_of_a_file(error):
                raise
            why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    from torch._inductor.utils import fresh_cache

    with fresh_cache():
        result = compile()
    warnings.warn(
        f"Files of compiled code in {os.environ.get(FOLDER)!r} are broken, so the code is compiled anew each time "
        f"({why}). Delete the folder.",
        stacklevel=2,
    )
    return result


def _is_of_a_file(error: BaseException | None) -> bool:
    """Whether an error is one of reading or loading a file, or a module that torch wrote lacks its end."""
    while error is not None:
        says = str(error).startswith(("Failed to import", "module 'torch._inductor.runtime.compile_tasks"))
        if says or isinstance(error, OSError | SyntaxError | EOFError):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def checked_libraries() -> Iterator[None]:
    """A context in which torch loads only whole libraries; one that was cut off is deleted, and compiled anew."""
    from torch._inductor.codecache import CppCodeCache

    load: Any = vars(CppCodeCache)["_load_library"].__func__

    def checked(cls: type, path: str, key: str) -> Any:
        if not is_whole(Path(path)):
            Path(path).unlink(missing_ok=True)
            raise OSError(f"the library {path} was cut off")
        return load(cls, path, key)

    with mock.patch.object(CppCodeCache, "_load_library", classmethod(checked)):
        yield


def is_whole(library: Path) -> bool:
    """Whether a shared library has all its bytes, as far as the header of an ELF file tells; True of other formats.

    Linkers write the table of sections last, and the header says where it ends.

    Args:
        library: the file.
    """
    with library.open("rb") as file:
        header = file.read(64)
        size = os.fstat(file.fileno()).st_size
    if header[:5] != b"\x7fELF\x02":  # no ELF file of 64 bits
        return not (b"\x7fELF".startswith(header[:4]) and len(header) < 5)
    start, width, count = (int.from_bytes(header[a:b], "little") for a, b in ((40, 48), (58, 60), (60, 62)))
    return len(header) == 64 and size >= start + width * count
