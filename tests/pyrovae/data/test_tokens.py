"""The numbers of the special tokens, and the lengths of sentences."""

import pytest
import torch

from pyrovae.data.tokens import BOS, EOS, PAD, SPECIAL, UNK, lengths
from pyrovae.errors import SupportError


def test_the_special_tokens_are_the_first_numbers():
    assert (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)
    assert SPECIAL == ("<pad>", "<bos>", "<eos>", "<unk>")


def test_lengths_count_the_end():
    assert lengths(torch.tensor([[4, 5, EOS, PAD], [EOS, PAD, PAD, PAD], [UNK, 4, 5, EOS]])).tolist() == [3, 1, 4]


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (0,)])
def test_lengths_take_any_leading_dimensions(lead):
    sentence = torch.tensor([4, 4, EOS, PAD])
    assert torch.equal(lengths(sentence.expand(*lead, 4)), torch.full(lead, 3))


def test_padding_alone_is_no_sentence(says):
    with says(SupportError, "EOS = 2", "got 1 of padding alone"):
        lengths(torch.tensor([[EOS, PAD], [PAD, PAD]]))
