"""Bags of words: documents as counts of words, from a file of OCTIS's form, and from Python's own docstrings."""

import ast
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pyrovae.data.dataset import SPLIT_SEED, Dataset, hold_out, shuffle
from pyrovae.data.limits import LOAD_LIMIT, check_bytes
from pyrovae.data.tokens import SPECIAL
from pyrovae.data.vocabulary import Vocabulary
from pyrovae.errors import DataError
from pyrovae.imports import imported

__all__ = ["load_corpus", "load_docstrings"]

SPLITS = {"train": "train", "val": "valid", "valid": "valid", "test": "test"}
"""How a file names the splits."""

WORDS = 20
"""A docstring has at least so many words, stop words included."""

CLASSES = 15
"""The modules with the most docstrings are classes of their own; all others are one class."""

LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "pydoc_data", "site-packages", "dist-packages", "_vendor"}
"""Folders of the standard library that are tests, programs, or other people's code."""


def load_corpus(name: str, path: Path, max_bytes: int = LOAD_LIMIT) -> Dataset:
    """A corpus in OCTIS's form: a line for each document, with its words, its split and its label between tabs.

    Words are separated by spaces, splits are named `train`, `val` and `test`, and the label may be missing in all
    lines. The words of `vocabulary.txt` in the same folder, one a line, are counted; without that file, those of the
    training documents. `x` are counts, float32 `(N, V)`.

    Args:
        name: the data set's name.
        path: a UTF-8 file.
        max_bytes: counts that take more bytes in memory are refused.

    Raises:
        DataError: a file that is missing, empty, not UTF-8 or too large, or a line of another form.

    References: Terragni et al. (2021), OCTIS: Comparing and optimizing topic models is simple.
    """
    if not path.is_file():
        raise DataError(f"No such file: {path} (the working folder is {Path.cwd()}).")
    lines = [line.split("\t") for line in _text(path).split("\n") if line.strip()]
    _check_lines(path, lines)
    splits = [SPLITS[line[1].strip()] for line in lines]
    beside = path.with_name("vocabulary.txt")
    training = [line[0] for line, split in zip(lines, splits, strict=True) if split == "train"]
    vocabulary = _vocabulary(_text(beside).split()) if beside.is_file() else Vocabulary.of(training)
    labels = [line[2].strip() for line in lines] if all(len(line) == 3 for line in lines) else None
    source = f"{path}, split as it came"
    return _dataset(name, source, [line[0] for line in lines], labels, vocabulary, splits, max_bytes)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: byte {error.start}. Convert it with iconv -t UTF-8.") from None


def _check_lines(path: Path, lines: Sequence[Sequence[str]]) -> None:
    """Refuse lines of another form, and a corpus without a document to train on or to test."""
    for number, line in enumerate(lines, 1):
        if not 2 <= len(line) <= 3 or line[1].strip() not in SPLITS:
            raise DataError(
                f"{path} requires WORDS, tab, train, val or test, tab, LABEL in each line, got {len(line)} columns"
                f"{f' and the split {line[1].strip()!r}' if len(line) > 1 else ''} in line {number}."
            )
    found = {SPLITS[line[1].strip()] for line in lines}
    if not {"train", "test"} <= found:
        raise DataError(f"{path} requires documents to train on and to test, got {', '.join(sorted(found)) or 'none'}.")


def _dataset(
    name: str,
    source: str,
    documents: Sequence[str],
    labels: Sequence[str] | None,
    vocabulary: Vocabulary,
    splits: Sequence[str],
    max_bytes: int,
) -> Dataset:
    """Counts and labels in their splits; documents without a counted word are left out."""
    check_bytes(source, 4 * len(documents) * len(vocabulary.words), max_bytes)
    x = vocabulary.count(documents)
    classes = tuple(sorted(set(labels))) if labels is not None else None
    everything: dict[str, Tensor] = {"x": x}
    if labels is not None and classes is not None:
        everything["y"] = torch.tensor([classes.index(label) for label in labels])
    kept = x.sum(1) > 0
    train, valid, test = (
        {key: t[kept & torch.tensor([one == split for one in splits])] for key, t in everything.items()}
        for split in ("train", "valid", "test")
    )
    if empty := len(x) - int(kept.sum()):
        source += f"; {empty:,} without a counted word left out"
    return Dataset(train, valid, test, name, source, classes, vocabulary=vocabulary)


def load_docstrings(valid: int | None = None) -> Dataset:
    """The docstrings of Python's standard library, of 20 words or more, each once; a tenth is held out for testing.

    English stop words are left out, and so are words in fewer than 5 or in more than three tenths of the training
    docstrings. `y` is the module, of the 15 that have the most; all others are the class `other`.

    Args:
        valid: the number of docstrings held out for validation; a tenth by default.

    Raises:
        DataError: this Python has no standard library in files.
        MissingExtraError: scikit-learn is not installed.
    """
    text = imported("sklearn.feature_extraction.text", "load('docstrings') requires", "pyrovae[data]")
    found = dict(docstrings())
    if len(found) < 100:
        raise DataError(
            f"docstrings requires the standard library as .py files, got {len(found)} docstrings in "
            f"{sysconfig.get_path('stdlib')}. Write load('PATH.tsv') with documents of your own."
        )
    documents = [" ".join(re.findall("[a-z]{3,}", one.lower())) for one in found]
    most = [module for module, _ in Counter(found.values()).most_common(CLASSES)]
    labels = [module if module in most else "other" for module in found.values()]
    tenth = len(documents) // 10
    order = shuffle({"x": torch.arange(len(documents))})
    pool, tested = hold_out(order, tenth, "test")
    train, held = hold_out(pool, tenth if valid is None else valid)
    splits = [""] * len(documents)
    for split, rows in {"train": train, "valid": held, "test": tested}.items():
        for i in rows["x"]:
            splits[i] = split
    counter = text.CountVectorizer(stop_words="english", min_df=5, max_df=0.3)
    words = counter.fit([documents[i] for i in train["x"]]).get_feature_names_out()
    version = ".".join(map(str, sys.version_info[:3]))
    source = f"docstrings of the standard library of Python {version}, shuffled (seed {SPLIT_SEED}), then split"
    return _dataset("docstrings", source, documents, labels, _vocabulary(words), splits, LOAD_LIMIT)


def _vocabulary(words: Sequence[str]) -> Vocabulary:
    return Vocabulary((*SPECIAL, *map(str, words)), "word")


def docstrings() -> Iterator[tuple[str, str]]:
    """The docstrings of the standard library, each with the name of its top module, in the order of the files."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if not LEFT_OUT & {*parts}:
            yield from ((text, parts[0].removesuffix(".py")) for text in _docstrings_of(path))


def _docstrings_of(path: Path) -> Iterator[str]:
    """The docstrings of one file: of the module, its classes, and its functions."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):  # templates that are no Python
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and len(text.split()) >= WORDS:
                yield text
