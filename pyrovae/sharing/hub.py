"""Pairs on the Hugging Face hub, through its own client. Only the three files of a pair are sent or fetched."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pyrovae.errors import FolderError
from pyrovae.imports import imported

__all__ = ["download", "upload"]


def _hub(user: str) -> ModuleType:
    return imported("huggingface_hub", f"{user} requires", "pyrovae[hub]")


def download(name: str, files: Sequence[str]) -> dict[str, Path]:
    """Fetch the files of a pair, or take them from the client's cache.

    Args:
        name: `"user/name"`.
        files: the names of the files.

    Returns:
        Where each file is.

    Raises:
        FolderError: there is no such pair, or the hub cannot be reached; a file leads out of its cache.
        MissingExtraError: huggingface_hub is not installed.
    """
    hub = _hub(f"load({name!r})")
    try:
        place = Path(hub.snapshot_download(name, allow_patterns=list(files)))
        return _without_links(place, files)
    except FolderError:
        raise
    except Exception as error:  # the client, the network and the hub fail in many ways
        raise _failed("load", name, error) from error


def _without_links(place: Path, files: Sequence[str]) -> dict[str, Path]:
    """The client's cache links each file to its content, within the folder of its repository; no link may leave it."""
    cache = place.resolve()
    roots = [cache, *(part for part in cache.parents if part.name.startswith("models--"))]
    real = {file: (place / file).resolve() for file in files}
    for file, path in real.items():
        if not any(path.is_relative_to(root) for root in roots):
            raise FolderError(
                f"{file} of the download leads out of its folder, to {str(path)!r}. Delete {str(cache)!r}."
            )
    return real


def upload(name: str, folder: Path, files: Sequence[str], private: bool) -> str:
    """Send the files of a pair, and return the address of the commit.

    Args:
        name: `"user/name"`; it is made where it does not exist.
        folder: the folder that holds the files.
        files: their names.
        private: whether a new repository is private.

    Raises:
        FolderError: the hub cannot be reached, or refuses.
        MissingExtraError: huggingface_hub is not installed.
    """
    hub = _hub("push_to_hub")
    try:
        hub.create_repo(name, private=private, exist_ok=True)
        sent: Any = hub.upload_folder(repo_id=name, folder_path=os.fspath(folder), allow_patterns=list(files))
    except Exception as error:  # the client, the network and the hub fail in many ways
        raise _failed("push_to_hub", name, error) from error
    return str(getattr(sent, "commit_url", sent))


def _failed(user: str, name: str, error: Exception) -> FolderError:
    why = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
    return FolderError(
        f"{user} requires the hub, and {name!r} there; it answers {why}. Check the name, the network and "
        "huggingface-cli login, or name a local folder."
    )
