"""Vocabularies: sentences to numbers and back."""

import pytest
import torch

from pyrovae.data import Vocabulary
from pyrovae.data.tokens import BOS, EOS, PAD, SPECIAL, UNK, lengths
from pyrovae.errors import DataError, SettingError


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
    with says(SettingError, "min_count requires a whole number of at least 1"):
        Vocabulary.of(["a a"], min_count=0)


@pytest.mark.parametrize("wrong", [-1, 5, 10**9])
def test_a_number_without_a_token_is_no_word(wrong, says):
    """-1 was the last word."""
    words = Vocabulary.of(["a a a"])
    with says(DataError, "from 0 to 4", f"got {wrong}"):
        words.decode(torch.tensor([[4, wrong, EOS]]))


def test_what_is_no_sentences(says):
    words = Vocabulary.of(["a a a"])
    for wrong in (torch.tensor([4, EOS]), torch.tensor([[4.0]])):
        with says(DataError, "integers (N, T)", str(tuple(wrong.shape))):
            words.decode(wrong)
    assert words.decode(torch.zeros(0, 3, dtype=torch.int64)) == []
