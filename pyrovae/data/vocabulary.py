"""Which words, or characters, have a number."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_tensor
from pyrovae.data.tokens import EOS, PAD, SPECIAL, UNK
from pyrovae.errors import DataError

__all__ = ["TokenLevel", "Vocabulary", "tokenize"]

TokenLevel = Literal["word", "char"]
"""What a token is: a word, separated by white space, or a character."""

MAX_TOKENS = 20_000
"""Size of the largest vocabulary, without the special tokens; the most frequent tokens are kept."""


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """The tokens that have a number. Every other token is UNK.

    Attributes:
        tokens: the tokens in the order of their numbers; PAD, BOS, EOS and UNK come first.
        level: whether a token is a `word`, separated by white space, or a `char`.
    """

    tokens: tuple[str, ...]
    level: TokenLevel

    @classmethod
    def of(cls, sentences: Iterable[str], level: TokenLevel = "word", min_count: int | None = None) -> "Vocabulary":
        """The vocabulary of some sentences.

        Args:
            sentences: the training sentences.
            level: whether a token is a `word` or a `char`.
            min_count: how often a token has to occur. By default a word occurs twice, so that UNK is learned, and a
                character once.

        Raises:
            DataError: an unknown level, or no token occurs so often.
            SettingError: a `min_count` below 1.
        """
        if level not in get_args(TokenLevel):
            raise DataError(f"level is one of {', '.join(get_args(TokenLevel))}, got {level!r}. Write level='word'.")
        usual = 2 if level == "word" else 1
        least = usual if min_count is None else check_count("min_count", min_count, write=1)
        counts = Counter(token for sentence in _sentences(sentences) for token in tokenize(sentence, level))
        kept = [token for token, count in counts.most_common(MAX_TOKENS) if count >= least]
        if not kept:
            raise DataError(
                f"A vocabulary requires a {level} that occurs {least} times, got {len(counts)} different ones that all "
                "occur less often. Pass more sentences, or write min_count=1, or level='char'."
            )
        return cls((*SPECIAL, *sorted(kept)), level)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def words(self) -> tuple[str, ...]:
        """The tokens without PAD, BOS, EOS and UNK: the columns of `count`."""
        return self.tokens[len(SPECIAL) :]

    def count(self, documents: Sequence[str]) -> Tensor:
        """How often each of the V `words` comes in each document: float32 `(N, V)`. Other words are not counted.

        Args:
            documents: N texts.

        Raises:
            DataError: they are no list of texts.
        """
        column = {token: i for i, token in enumerate(self.words)}
        counts = torch.zeros(len(documents), len(column))
        for row, document in zip(counts, _sentences(documents), strict=True):
            for token, count in Counter(tokenize(document, self.level)).items():
                if token in column:
                    row[column[token]] = count
        return counts

    def encode(self, sentences: Sequence[str], width: int | None = None) -> Tensor:
        """Sentences as numbers, int64 `(N, T)`: each ends with EOS and is padded.

        Args:
            sentences: N sentences.
            width: T; by default that of the longest sentence.

        Raises:
            DataError: there is no sentence, or one has more than `width` tokens.
        """
        sentences = _sentences(sentences)
        if not sentences:
            raise DataError('encode requires sentences, got none. Write vocabulary.encode(["A SENTENCE"]).')
        number = {token: i for i, token in enumerate(self.tokens)}
        width = width if width is None else check_count("width", width)
        rows = [[number.get(token, UNK) for token in tokenize(s, self.level)] + [EOS] for s in sentences]
        longest = max(map(len, rows))
        if width is not None and longest > width:
            raise DataError(
                f"A sentence has {longest} tokens, EOS included, and the width is {width}. Leave width out."
            )
        x = torch.full((len(rows), width or longest), PAD)
        for i, row in enumerate(rows):
            x[i, : len(row)] = torch.tensor(row)
        return x

    def decode(self, x: Tensor) -> list[str]:
        """The sentences behind the numbers `x`, `(N, T)`, without EOS and padding.

        Raises:
            DataError: `x` is no such tensor of integers, or a number has no token.
        """
        x = check_tensor("x", x, "(N, T), int64")
        if x.dim() != 2 or x.is_floating_point() or x.is_complex():
            raise DataError(f"decode requires integers (N, T), got {x.dtype} {tuple(x.shape)}. Write decode(x[None]).")
        wrong = x[(x < 0) | (x >= len(self))]
        if wrong.numel():
            raise DataError(
                f"decode requires numbers from 0 to {len(self) - 1}, those of the {len(self):,} tokens, got "
                f"{wrong[0].item()}. Decode with the vocabulary that encoded the sentences."
            )
        separator = " " if self.level == "word" else ""
        return [separator.join(self.tokens[i] for i in row if i not in (PAD, EOS)) for row in x.tolist()]

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} {self.level}s)"


def _sentences(sentences: Iterable[str]) -> list[str]:
    kept = [] if isinstance(sentences, str) or not isinstance(sentences, Iterable) else list(sentences)
    wrong = next((s for s in kept if not isinstance(s, str)), None)
    if wrong is not None or isinstance(sentences, str) or not isinstance(sentences, Iterable):
        raise DataError(
            f"A vocabulary requires sentences, a list of str, got {type(sentences).__name__}"
            f'{"" if wrong is None else f" of {type(wrong).__name__}"}. Write ["A SENTENCE"].'
        )
    return kept


def tokenize(sentence: str, level: TokenLevel) -> list[str]:
    """A sentence split into tokens.

    Args:
        sentence: one line of text.
        level: whether a token is a `word` or a `char`.
    """
    return sentence.split() if level == "word" else list(sentence)
