"""Vocabularies: sentences to numbers and back."""

import pytest

from pyrovae.data import Vocabulary
from pyrovae.data.tokens import BOS, EOS, PAD, SPECIAL, UNK, lengths
from pyrovae.errors import DataError


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
