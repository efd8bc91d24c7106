"""Sentences from files and from Unicode."""

import torch

from pyrovae import data
from pyrovae.data.text import LONGEST, unicode_names
from pyrovae.errors import DataError


def write(path, lines, encoding="utf-8"):
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


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
    with says(DataError, "Every sentence", "200 tokens"):
        data.load(write(tmp_path / "long.txt", ["a" * 300]), level="char")


def test_files_that_are_no_text(tmp_path, says):
    with says(DataError, "not UTF-8", "byte 0xe9 in line 2", "iconv"):
        data.load(write(tmp_path / "latin.txt", ["ok", "café"], "latin-1"))
    with says(DataError, "no sentence"):
        data.load(write(tmp_path / "empty.txt", ["", " "]))
    with says(DataError, "No such file"):
        data.load(tmp_path / "missing.txt")
    with says(DataError, "level='char' is for unicode-names", "'digits'"):
        data.load("digits", level="char")
    marked = data.load(write(tmp_path / "bom.txt", ["ab"] * 3 + ["ba"], "utf-8-sig"), level="char", test=0, valid=0)
    assert len(marked.vocabulary) == 6
