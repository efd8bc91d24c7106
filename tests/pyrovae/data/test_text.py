"""Sentences from files and from Unicode, vocabularies, and batches by length."""

from itertools import pairwise

import pytest
import torch

from pyrovae import data
from pyrovae.data import ByLength, Vocabulary
from pyrovae.data.text import LONGEST, unicode_names
from pyrovae.data.tokens import BOS, EOS, PAD, SPECIAL, UNK, lengths
from pyrovae.errors import DataError, SupportError


def write(path, lines, encoding="utf-8"):
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


@pytest.mark.parametrize("level", ["word", "char"])
def test_sentences_come_back_from_their_numbers(level):
    sentences = ["the cat sat", "the dog", "a"]
    words = Vocabulary.of(sentences, level, min_count=1)
    x = words.encode(sentences)
    assert words.decode(x) == sentences
    assert words.tokens[:4] == SPECIAL
    assert x.shape == (3, 4 if level == "word" else 12)
    assert ((x == EOS).sum(1) == 1).all()
    assert not (x == BOS).any()
    assert lengths(x).tolist() == [4, 3, 2] if level == "word" else [12, 8, 2]
    assert (x[2, 2:] == PAD).all()


def test_what_is_not_known_is_unk():
    words = Vocabulary.of(["a b a", "a c b"])  # c occurs once
    x = words.encode(["a c d"])
    assert (x == UNK).sum() == 2
    assert words.decode(x) == ["a <unk> <unk>"]
    assert repr(words) == "Vocabulary(6 words)"


def test_an_empty_sentence_is_its_end_alone():
    words = Vocabulary.of(["a a"])
    x = words.encode(["", "a"], width=3)
    assert x.tolist() == [[EOS, PAD, PAD], [4, EOS, PAD]]
    assert words.decode(x) == ["", "a"]


def test_a_vocabulary_says_what_is_wrong(says):
    with says(DataError, "word, char", "'letter'"):
        Vocabulary.of(["a"], "letter")
    with says(DataError, "occurs 2 times", "min_count=1"):
        Vocabulary.of(["each word once"])
    words = Vocabulary.of(["a a a"])
    with says(DataError, "4 tokens", "width is 2"):
        words.encode(["a a a"], width=2)
    with says(DataError, "got none"):
        words.encode([])


def test_the_names_of_unicode_need_no_file():
    names = unicode_names()
    assert 30_000 < len(names) == len(set(names))
    assert "LATIN SMALL LETTER A" in names
    assert not any(name.startswith(("HANGUL SYLLABLE", "CJK UNIFIED")) for name in names)
    loaded = data.load("unicode-names")
    assert {split: len(batch["x"]) for split, batch in loaded.splits.items()} == {
        "train": len(names) - 4000,
        "valid": 2000,
        "test": 2000,
    }
    assert f"{len(loaded.vocabulary):,} words" in loaded.describe()
    whole = [loaded.vocabulary.decode(batch["x"]) for batch in loaded.splits.values()]
    known = [{name for name in part if "<unk>" not in name} for part in whole]
    assert len(set.union(*known)) == sum(map(len, known))
    assert torch.equal(data.load("unicode-names").test["x"], loaded.test["x"])
    assert len(data.load("unicode-names", valid=0).valid["x"]) == 0


def test_a_file_is_split_each_sentence_once(tmp_path):
    lines = [f"sentence {i % 10} of {i // 10}" for i in range(100)]
    path = write(tmp_path / "lines.txt", [*lines, "", "  ", lines[3] + " "])
    loaded = data.load(path, level="char")
    whole = [s for batch in loaded.splits.values() for s in loaded.vocabulary.decode(batch["x"])]
    assert sorted(whole) == sorted(lines)
    assert [len(batch["x"]) for batch in loaded.splits.values()] == [80, 10, 10]
    fewer = data.load(path, valid=5, test=7)
    assert [len(batch["x"]) for batch in fewer.splits.values()] == [88, 5, 7]


def test_sentences_that_are_too_long_are_left_out(tmp_path, says):
    lines = [*"abcdefghij", "abab", "a" * LONGEST]
    loaded = data.load(write(tmp_path / "lines.txt", lines), level="char", valid=0, test=1)
    assert "1 of 200 tokens or more left out" in loaded.describe()
    assert len(loaded.train["x"]) == 10
    with says(DataError, "every sentence", "200 tokens"):
        data.load(write(tmp_path / "long.txt", ["a" * 300]), level="char")


def test_files_that_are_no_text(tmp_path, says):
    with says(DataError, "not UTF-8", "byte 0xe9 in line 2", "iconv"):
        data.load(write(tmp_path / "latin.txt", ["ok", "café"], "latin-1"))
    with says(DataError, "no sentence"):
        data.load(write(tmp_path / "empty.txt", ["", " "]))
    with says(DataError, "no such file"):
        data.load(tmp_path / "missing.txt")
    with says(DataError, "level='char' is for text", "'digits'"):
        data.load("digits", level="char")
    marked = data.load(write(tmp_path / "bom.txt", ["ab"] * 3 + ["ba"], "utf-8-sig"), level="char", test=0, valid=0)
    assert len(marked.vocabulary) == 6


def test_padding_alone_is_no_sentence(says):
    with says(SupportError, "EOS = 2", "got 1 of padding alone"):
        lengths(torch.tensor([[EOS, PAD], [PAD, PAD]]))


def test_batches_by_length_hold_all_data_once_and_little_padding():
    counts = torch.randint(1, 30, (100,))
    draw = ByLength(counts, 16)
    steps = draw(torch.Generator().manual_seed(0))
    assert torch.cat(steps).sort().values.equal(torch.arange(100))
    assert sorted(map(len, steps)) == [4, 16, 16, 16, 16, 16, 16]
    spans = sorted((counts[rows].min().item(), counts[rows].max().item()) for rows in steps)
    assert all(above[0] >= below[1] for below, above in pairwise(spans))
    again = draw(torch.Generator().manual_seed(0))
    assert all(a.equal(b) for a, b in zip(steps, again, strict=True))
    assert not steps[0].equal(draw(torch.Generator().manual_seed(1))[0])
    assert repr(draw) == "ByLength(100 data, batch_size=16)"
