"""Folders of images: the files are found, decoded, and labelled by their subfolder."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from pyrovae.data.arrays import Contents, from_arrays
from pyrovae.data.dataset import Dataset
from pyrovae.data.limits import LOAD_LIMIT, check_bytes
from pyrovae.errors import DataError, PyrovaeError, ShapeError
from pyrovae.imports import imported

__all__ = ["decode", "load_folder"]

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "MPO")
_SPLIT_FOLDERS = {"train": "train", "test": "test", "valid": "valid", "val": "valid"}


def load_folder(
    name: str, path: Path, size: int | tuple[int, int] | None, valid: int | None, test: int | None, max_bytes: int
) -> Dataset:
    """The images under a folder, in the splits of its subfolders, or split at random.

    Args:
        name: the data set's name.
        path: the folder.
        size: H = W, or (H, W), to which every image is resized; None where all images have one size.
        valid: the number of images held out for validation; a tenth by default.
        test: the number of images held out for testing; a tenth by default.
        max_bytes: images that take more bytes in memory are refused.

    Raises:
        DataError: no image, a broken image, one of more than 8 bits or of several pages, too many bytes, or a split of
            the wrong size.
        ShapeError: images of several sizes.
    """
    return from_arrays(name, f"images in {path}", *_read_folder(path, _as_size(size), max_bytes), valid, test)


def _as_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2 or not all(isinstance(edge, int) and edge > 0 for edge in pair):
        raise DataError(f"size is a positive integer or a pair (H, W), got {size!r}. Write size=64.")
    return pair[0], pair[1]


def _read_folder(path: Path, size: tuple[int, int] | None, max_bytes: int) -> Contents:
    if not path.is_dir():
        raise DataError(f"No such folder: {path} (the working folder is {Path.cwd()}).")
    files = {part: _image_files(folder) for part, folder in _split_folders(path).items()}
    empty = [part for part, found in files.items() if not found]
    if empty:
        where = "" if "all" in empty else f" for {empty[0]}"
        raise DataError(f"No image in {path}{where}; looked for {', '.join(_IMAGE_SUFFIXES)} at every depth.")
    images = _read_images(path, files, size, max_bytes)
    _check_sizes(files, images)
    channels = max(len(image) for part in images.values() for image in part)
    labels = {part: list(found.values()) for part, found in files.items()}
    named = [label for part in labels.values() for label in part]
    if "" in named and set(named) != {""}:
        raise DataError(
            f"{path}: some images are in class folders, others beside them. Move all images into class folders, or all "
            "out of them."
        )
    parts = {part: {"x": _stack(images[part], channels)} for part in images}
    if set(named) != {""}:
        for part, arrays in parts.items():
            arrays["y"] = np.array(labels[part])
    return parts, None


def _split_folders(path: Path) -> dict[str, Path]:
    """`{"all": path}`, or the splits where the subfolders are named train, test and perhaps valid or val."""
    names = {entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    if {"train", "test"} <= names <= set(_SPLIT_FOLDERS) and len(names) < len(_SPLIT_FOLDERS):
        return {_SPLIT_FOLDERS[name]: path / name for name in sorted(names)}
    return {"all": path}


def _image_files(folder: Path) -> dict[Path, str]:
    """Every image under a folder, in a fixed order, with its first-level subfolder (or "")."""
    found = {}
    for file in sorted(folder.rglob("*")):
        place = file.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in place)
        if file.suffix.lower() in _IMAGE_SUFFIXES and file.is_file() and not hidden:
            found[file] = place[0] if len(place) > 1 else ""
    return found


def _read_images(
    path: Path, files: dict[str, dict[Path, str]], size: tuple[int, int] | None, max_bytes: int
) -> dict[str, list[np.ndarray]]:
    """The images of each split; their sum is bounded before the next one is read."""
    images, total = {part: list[np.ndarray]() for part in files}, 0
    for part, found in files.items():
        for file in found:
            image = _read_image(file, size, max_bytes)
            total += 3 * image[0].nbytes
            check_bytes(f"The images in {path}", total, max_bytes)
            images[part].append(image)
    return images


def _read_image(file: Path, size: tuple[int, int] | None, max_bytes: int) -> np.ndarray:
    try:
        return decode(file, size, max_bytes)
    except PyrovaeError:
        raise
    except Exception as error:  # decoders raise all kinds: OSError, SyntaxError, struct.error, ...
        raise DataError(f"{file} is not a readable image: {error}. Repair it or move it away.") from error


def decode(file: Path | io.BytesIO, size: tuple[int, int] | None, max_bytes: int = LOAD_LIMIT) -> np.ndarray:
    """An image, upright, as uint8 `(1, H, W)` if it is grey, else `(3, H, W)`; its transparency is dropped.

    Args:
        file: the file, or its bytes.
        size: (H, W) to which the image is resized; None keeps its size.
        max_bytes: an image that takes more bytes before it is resized is refused, before it is decoded.

    Raises:
        DataError: the image has more than 8 bits per channel, several pages, or too many pixels.
        MissingExtraError: Pillow is not installed.
    """
    pillow, operations = (imported(f"PIL.{part}", "Images require", "Pillow") for part in ("Image", "ImageOps"))
    # By its content alone, Pillow would take an EPS for an image, whatever its name, and start Ghostscript.
    with pillow.open(file, formats=_FORMATS) as stored:
        _check_plain(file, stored)
        check_bytes(str(file), 3 * stored.size[0] * stored.size[1], max_bytes)
        grey = stored.mode in ("1", "L", "LA", "La")
        image = operations.exif_transpose(stored)
        if "transparency" in image.info:
            image = image.convert("LA" if grey else "RGBA")
        image = image.convert("L" if grey else "RGB")
        if size is not None:
            image = image.resize((size[1], size[0]), pillow.Resampling.BILINEAR)
        array = np.array(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _check_plain(file: Path | io.BytesIO, stored: Any) -> None:
    """Refuse what would be read as something else: an image of 16 bits as one of 8, or many pages as the first."""
    coded = [str(tile[3]) for tile in stored.tile]  # the form of the pixels in the file, such as "RGB;16B"
    if stored.mode.startswith(("I", "F")) or any(re.search(";16[BLN]", form) for form in coded):
        raise DataError(f"{file} has more than 8 bits per channel ({coded or stored.mode}). Convert it to 8 bits.")
    pages = getattr(stored, "n_frames", 1)
    if pages > 1 and stored.format != "MPO":  # cameras store a preview beside the picture
        raise DataError(f"{file} has {pages} pages or frames. Write each into a file of its own.")


def _check_sizes(files: dict[str, dict[Path, str]], images: dict[str, list[np.ndarray]]) -> None:
    flat_files = [file for part in files.values() for file in part]
    flat_sizes = [image.shape[1:] for part in images.values() for image in part]
    for file, size in zip(flat_files, flat_sizes, strict=True):
        if size != flat_sizes[0]:
            raise ShapeError(
                f"All images must have one size (H, W), got {flat_sizes[0]} for {flat_files[0]} and {size} for {file}. "
                "Write load(..., size=64), or --image-size 64, to resize them."
            )


def _stack(images: list[np.ndarray], channels: int) -> np.ndarray:
    return np.stack([np.broadcast_to(image, (channels, *image.shape[1:])) for image in images])
