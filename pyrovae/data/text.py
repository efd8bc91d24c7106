"""Text: one sentence a line, a vocabulary of words or characters, and sentences as tensors."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from pyrovae.data.dataset import SPLIT_SEED, Dataset, hold_out, shuffle
from pyrovae.data.tokens import EOS, PAD, SPECIAL, UNK
from pyrovae.errors import DataError

__all__ = ["LONGEST", "Level", "Vocabulary", "load_text", "load_unicode_names", "unicode_names"]

Level = Literal["word", "char"]

LONGEST = 200
"""Sentences of more tokens than this are left out: one of them would widen the tensor of all."""

MOST = 20_000
"""Words in a vocabulary at most, the most frequent ones."""


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """The words, or the characters, that have a number; all others are UNK.

    Attributes:
        tokens: by number, PAD, BOS, EOS and UNK first.
        level: whether a token is a word, separated by white space, or a character.
    """

    tokens: tuple[str, ...]
    level: Level

    @classmethod
    def of(cls, sentences: Iterable[str], level: Level = "word", min_count: int | None = None) -> "Vocabulary":
        """The tokens that occur at least `min_count` times (words twice, so that UNK is learned; characters once).

        Raises:
            DataError: an unknown level, or no token that occurs so often.
        """
        if level not in get_args(Level):
            raise DataError(f"level is one of {', '.join(get_args(Level))}, got {level!r}: write level='word'")
        least = min_count or (2 if level == "word" else 1)
        counts = Counter(token for sentence in sentences for token in _split(sentence, level))
        kept = [token for token, count in counts.most_common(MOST) if count >= least]
        if not kept:
            raise DataError(
                f"a vocabulary wants a {level} that occurs {least} times, got {len(counts)} different ones that do "
                "not: pass more sentences, or min_count=1, or level='char'"
            )
        return cls((*SPECIAL, *sorted(kept)), level)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, sentences: Sequence[str], width: int | None = None) -> Tensor:
        """Sentences as numbers, each ended by EOS and padded: int64 `(N, T)`, T = `width` or the longest's.

        Raises:
            DataError: no sentences, or one of more than `width` tokens.
        """
        if not len(sentences):
            raise DataError('encode wants sentences, got none: write vocabulary.encode(["A SENTENCE"])')
        number = {token: i for i, token in enumerate(self.tokens)}
        rows = [[number.get(token, UNK) for token in _split(s, self.level)] + [EOS] for s in sentences]
        longest = max(map(len, rows))
        if width is not None and longest > width:
            raise DataError(
                f"a sentence has {longest} tokens, EOS among them, and the width is {width}: leave width out"
            )
        x = torch.full((len(rows), width or longest), PAD)
        for i, row in enumerate(rows):
            x[i, : len(row)] = torch.tensor(row)
        return x

    def decode(self, x: Tensor) -> list[str]:
        """Numbers `(N, T)` as sentences, up to EOS."""
        joint = " " if self.level == "word" else ""
        return [joint.join(self.tokens[i] for i in row if i not in (PAD, EOS)) for row in x.tolist()]

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} {self.level}s)"


def _split(sentence: str, level: Level) -> list[str]:
    return sentence.split() if level == "word" else list(sentence)


def load_text(
    name: str, path: Path, level: Level = "word", valid: int | None = None, test: int | None = None
) -> Dataset:
    """A text file, one sentence a line; a tenth of the different sentences is held out twice, in a fixed order."""
    return _dataset(name, str(path), read_sentences(path), level, valid, test)


def read_sentences(path: Path) -> list[str]:
    """The lines of a UTF-8 file that are not blank.

    Raises:
        DataError: no such file, not UTF-8, or nothing in it; the message names the line.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path} (the working folder is {Path.cwd()})")
    content = path.read_bytes()
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path} is not UTF-8: byte 0x{content[error.start]:02x} in line {line}. Convert it, "
            f"iconv -f LATIN1 -t UTF-8 {path.name} > utf8.txt, naming the encoding that it has"
        ) from None
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise DataError(f"{path} holds no sentence: write one a line")
    return sentences


def load_unicode_names(valid: int | None = None, level: Level = "word") -> Dataset:
    """The names of Unicode's characters, 2,000 held out to test on and as many to validate."""
    origin = f"names of the characters of Unicode {unicodedata.unidata_version}, from Python's unicodedata"
    return _dataset("unicode-names", origin, unicode_names(), level, 2000 if valid is None else valid, 2000)


def unicode_names() -> list[str]:
    """Every name but those that a formula makes: Hangul syllables, and names that end in the code point."""
    names = (unicodedata.name(chr(code), "") for code in range(0x110000))
    made = re.compile(r"HANGUL SYLLABLE |.*-[0-9A-F]{4,5}$")
    return [name for name in names if name and not made.match(name)]


def _dataset(
    name: str, origin: str, sentences: Sequence[str], level: Level, valid: int | None, test: int | None
) -> Dataset:
    different = list(dict.fromkeys(sentences))
    kept = [s for s in different if len(_split(s, level)) < LONGEST]
    if not kept:
        raise DataError(f"every sentence of {origin} has {LONGEST} tokens or more: write shorter ones, or level='word'")
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
