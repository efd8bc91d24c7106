"""Bags of words from a file of OCTIS's form, and from Python's docstrings."""

import pytest
import torch

from pyrovae import data
from pyrovae.errors import DataError

LINES = [
    "cat dog cat\ttrain\tpets",
    "sun sky\ttrain\tsky",
    "dog sun\tval\tsky",
    "sky unknown\ttest\tsky",
    "zebra\ttest\tpets",
]


def write(folder, lines, words=("cat", "dog", "sky", "sun")):
    (folder / "corpus.tsv").write_text("\n".join(lines) + "\n")
    if words:
        (folder / "vocabulary.txt").write_text("\n".join(words) + "\n")
    return folder / "corpus.tsv"


def test_a_corpus_comes_with_its_splits_words_and_labels(tmp_path):
    found = data.load(write(tmp_path, LINES))
    assert found.vocabulary.words == ("cat", "dog", "sky", "sun")
    assert found.train["x"].tolist() == [[2, 1, 0, 0], [0, 0, 1, 1]]
    assert found.valid["x"].tolist() == [[0, 1, 0, 1]]
    assert found.test["x"].tolist() == [[0, 0, 1, 0]]  # the last document has no word of the vocabulary
    assert found.train["x"].dtype == torch.float32
    assert found.classes == ("pets", "sky")
    assert found.train["y"].tolist() == [0, 1]
    assert "1 without a counted word left out" in found.describe()


def test_without_a_vocabulary_the_words_of_training_are_counted(tmp_path):
    lines = [line.rpartition("\t")[0] for line in [*LINES, LINES[0]]]
    found = data.load(write(tmp_path, lines, words=()))
    assert found.vocabulary.words == ("cat", "dog")
    assert "y" not in found.train
    assert found.classes is None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["cat dog"], ["1 columns", "line 1", "WORDS, tab"]),
        (["cat\ttrain\tpets", "dog\tdev\tpets"], ["'dev'", "line 2"]),
        (["cat\ttrain\tpets"], ["to train on and to test", "got train"]),
        ([""], ["got none"]),
    ],
)
def test_a_corpus_of_another_form(tmp_path, lines, words, says):
    with says(DataError, "corpus.tsv", *words):
        data.load(write(tmp_path, lines))


def test_a_corpus_that_cannot_be_read(tmp_path, says):
    with says(DataError, "No such file"):
        data.load(tmp_path / "none.tsv")
    (tmp_path / "latin.tsv").write_bytes("caf\u00e9\ttrain".encode("latin-1"))
    with says(DataError, "not UTF-8", "iconv"):
        data.load(tmp_path / "latin.tsv")
    with says(DataError, "max_bytes"):
        data.load(write(tmp_path, LINES), max_bytes=10)
    with says(DataError, "a test split of its own", "test=1"):
        data.load(tmp_path / "corpus.tsv", test=1)


def test_a_vocabulary_counts_its_words(says):
    vocabulary = data.Vocabulary.of(["b a", "b a a"])
    assert vocabulary.count(["a c a", "b", ""]).tolist() == [[2, 0], [0, 1], [0, 0]]
    with says(DataError, "sentences"):
        vocabulary.count("a b")


@pytest.mark.slow
def test_docstrings_need_no_file():
    found = data.load("docstrings")
    assert len(found.train["x"]) > 1500
    assert (found.train["x"].sum(1) > 0).all()
    assert {"file", "return", "class"} & {*found.vocabulary.words}
    assert not {"the", "of"} & {*found.vocabulary.words}
    assert "other" in found.classes
    assert len(found.classes) == 16
    assert "docstrings of the standard library" in found.describe()
    assert len(data.load("docstrings", valid=0).valid["x"]) == 0
