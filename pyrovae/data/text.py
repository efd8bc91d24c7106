"""Texts: one sentence a line, from a file or from Unicode's names of characters."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import torch

from pyrovae.data.dataset import SPLIT_SEED, Dataset, hold_out, shuffle
from pyrovae.data.limits import LOAD_LIMIT, check_bytes
from pyrovae.data.vocabulary import TokenLevel, Vocabulary, tokenize
from pyrovae.errors import DataError

__all__ = ["LONGEST", "load_text", "load_unicode_names", "unicode_names"]

LONGEST = 200
"""Sentences of this many tokens or more are left out: one of them would widen the tensor of all."""


def load_text(
    name: str,
    path: Path,
    level: TokenLevel = "word",
    valid: int | None = None,
    test: int | None = None,
    max_bytes: int = LOAD_LIMIT,
) -> Dataset:
    """A text file with one sentence a line; each sentence is taken once, in a fixed random order.

    Args:
        name: the data set's name.
        path: a UTF-8 file.
        level: whether a token is a `word` or a `char`.
        valid: the number of sentences held out for validation; a tenth by default.
        test: the number of sentences held out for testing; a tenth by default.
        max_bytes: sentences that take more bytes in memory, padded to the longest, are refused.

    Raises:
        DataError: a file that is missing, empty, not UTF-8 or too large, or a split of the wrong size.
    """
    return _dataset(name, str(path), _read_sentences(path, max_bytes), level, valid, test, max_bytes)


def _read_sentences(path: Path, max_bytes: int) -> list[str]:
    """The lines of a UTF-8 file that are not blank."""
    if not path.is_file():
        raise DataError(f"No such file: {path} (the working folder is {Path.cwd()}).")
    check_bytes(str(path), path.stat().st_size, max_bytes)
    content = path.read_bytes()
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path} is not UTF-8: byte 0x{content[error.start]:02x} in line {line}. Convert it with "
            f"iconv -f LATIN1 -t UTF-8 {path.name} > utf8.txt, where LATIN1 stands for the encoding that it has."
        ) from None
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise DataError(f"{path} holds no sentence. Write one sentence a line.")
    return sentences


def load_unicode_names(valid: int | None = None, level: TokenLevel = "word") -> Dataset:
    """The names of Unicode's characters; 2,000 are held out for testing.

    Args:
        valid: the number of names held out for validation; 2,000 by default.
        level: whether a token is a `word` or a `char`.
    """
    origin = f"names of the characters of Unicode {unicodedata.unidata_version}, from Python's unicodedata"
    return _dataset("unicode-names", origin, unicode_names(), level, 2000 if valid is None else valid, 2000, LOAD_LIMIT)


def unicode_names() -> list[str]:
    """Every name that no formula makes. Formulas make the Hangul syllables and the names that end in the code point."""
    names = (unicodedata.name(chr(code), "") for code in range(0x110000))
    made = re.compile(r"HANGUL SYLLABLE |.*-[0-9A-F]{4,5}$")
    return [name for name in names if name and not made.match(name)]


def _dataset(
    name: str,
    origin: str,
    sentences: Sequence[str],
    level: TokenLevel,
    valid: int | None,
    test: int | None,
    max_bytes: int,
) -> Dataset:
    different = list(dict.fromkeys(sentences))
    kept = [s for s in different if len(tokenize(s, level)) < LONGEST]
    if not kept:
        raise DataError(
            f"Every sentence of {origin} has {LONGEST} tokens or more. Write shorter sentences, or level='word'."
        )
    check_bytes(origin, 8 * len(kept) * (1 + max(len(tokenize(s, level)) for s in kept)), max_bytes)
    tenth = len(kept) // 10
    pool, tested = hold_out(shuffle({"x": torch.arange(len(kept))}), tenth if test is None else test, "test")
    train, held = hold_out(pool, tenth if valid is None else valid)
    vocabulary = Vocabulary.of((kept[i] for i in train["x"]), level)
    x = vocabulary.encode(kept)
    source = f"{origin}; each sentence once, shuffled (seed {SPLIT_SEED}), then split"
    if len(kept) < len(different):
        source += f"; {len(different) - len(kept):,} of {LONGEST} tokens or more left out"
    train, held, tested = ({"x": x[rows["x"]]} for rows in (train, held, tested))
    return Dataset(train, held, tested, name, source, vocabulary=vocabulary)
