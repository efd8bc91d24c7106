"""Decoders of sentences: steps agree with one call, no token depends on later ones, words are dropped in training."""

import pytest
import torch

from pyrovae.data.tokens import BOS, UNK
from pyrovae.errors import ShapeError
from pyrovae.models.decoders import WordDropout

LATENT = 2


def test_steps_are_the_whole_sentence_at_once(decoder):
    tokens, z = torch.tensor([[BOS, 4, 5, 3], [BOS, 3, 3, 4]]), torch.randn(2, LATENT)
    state, logits = decoder.start(z), []
    for token in tokens.T:
        one, state = decoder.step(token, state)
        logits.append(one)
    torch.testing.assert_close(torch.stack(logits, 1), decoder(tokens, z))


@pytest.fixture
def transformer(decoders):
    return decoders["transformer"]()


def test_the_transformer_sees_no_word_to_come(transformer):
    decoder, z = transformer.eval(), torch.randn(1, LATENT)
    before, after = torch.tensor([[BOS, 4, 5]]), torch.tensor([[BOS, 4, 3]])
    torch.testing.assert_close(decoder(before, z)[:, :2], decoder(after, z)[:, :2])
    assert not torch.allclose(decoder(before, z)[:, 2], decoder(after, z)[:, 2])


def test_a_longer_sentence_than_the_transformer_knows(transformer, says):
    with says(ShapeError, "at most 7 tokens", "8 tokens", "length=8"):
        transformer(torch.full((1, 8), BOS), torch.zeros(1, LATENT))


def test_words_are_dropped_in_training_alone():
    drop, tokens = WordDropout(0.5), torch.full((20, 50), 5)
    tokens[:, 0] = BOS
    dropped = drop(tokens)
    assert (dropped[:, 0] == BOS).all()
    assert 0.4 < (dropped[:, 1:] == UNK).double().mean() < 0.6
    assert drop.eval()(tokens).equal(tokens)
    assert repr(drop) == "WordDropout(p=0.5)"
