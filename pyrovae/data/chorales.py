"""The chorales of Bach, as piano rolls."""

import json
import urllib.request
from pathlib import Path

from pyrovae.data.dataset import Dataset, first
from pyrovae.data.piano import rolls
from pyrovae.errors import DataError

__all__ = ["load_chorales"]

URL = "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/master/jsb-chorales-quarter.json"

LARGEST = 2**24
"""The file has less than half a megabyte, so an answer of more bytes than this is something else."""


def load_chorales(root: Path, download: bool, valid: int | None) -> Dataset:
    """The chorales of Bach, one step for each quarter note, 229 / 76 / 77, as in the published tables of nats per step.

    All are transposed to C. The split is that of Boulanger-Lewandowski et al. (2012), arXiv:1206.6392.

    Args:
        root: the folder of the file.
        download: whether to download the file where it is missing.
        valid: the number of validation chorales, the first ones; all 76 by default.

    Raises:
        DataError: the file is missing or broken.
    """
    file = root / "jsb-chorales-quarter.json"
    try:
        if not file.is_file() and download:
            with urllib.request.urlopen(URL, timeout=30) as answer:
                text = answer.read(LARGEST + 1)
            if len(text) > LARGEST:
                raise ValueError(f"the answer has more than {LARGEST:,} bytes")
            root.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text)
        pieces = json.loads(file.read_text())
        train, held, test = (rolls(pieces[split]) for split in ("train", "valid", "test"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"chorales could not be loaded: {type(error).__name__}: {error}\nWithout a network, use the chords: "
            f"--data chords, load('chords'). Or put the file there yourself: {file}, from {URL} (delete a broken one). "
            f"The folder {root} is the argument root, else $PYROVAE_DATA, else the user's cache."
        ) from error
    counts = train["within"].sum(-1)
    source = f"{file}; by the quarter note, in C, lengths {counts.min()} to {counts.max()}"
    return Dataset(train, first(held, valid), test, "chorales", source)
