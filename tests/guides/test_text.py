"""The encoder of sentences: its output depends on the whole sentence, and on nothing else."""

import torch

from pyrovae.data.tokens import EOS, PAD
from pyrovae.guides import SentenceEncoder


def test_padding_and_neighbours_change_nothing():
    encoder = SentenceEncoder(9, 4, 3, 5).eval()
    sentences = [[4, 5, 6, 7, 8, EOS], [EOS], [7, EOS], [4, 5, EOS]]
    x = torch.tensor([s + [PAD] * (8 - len(s)) for s in sentences])
    together = encoder(x)
    for i, sentence in enumerate(sentences):
        torch.testing.assert_close(encoder(torch.tensor([sentence]))[0], together[i], rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder(x.flip(0)).flip(0), together, rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder(x.reshape(2, 2, 8)), together.reshape(2, 2, 4), rtol=0, atol=1e-5)


def test_it_reads_both_ends():
    encoder = SentenceEncoder(9, 4, 3, 5).eval()
    first, middle, last = (encoder(torch.tensor([s])) for s in ([5, 4, 4, EOS], [4, 5, 4, EOS], [4, 4, 5, EOS]))
    assert not torch.allclose(first, middle)
    assert not torch.allclose(middle, last)
