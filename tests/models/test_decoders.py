"""Decoders of sentences: steps agree with one call, no token depends on later ones, words are dropped in training."""

import pytest
import torch

from pyrovae.data.tokens import BOS, EOS, UNK
from pyrovae.errors import SettingError, ShapeError
from pyrovae.models import LSTMDecoder
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


@pytest.fixture
def forced():
    """Decoders of the same weights that see the true token before at a share of their training steps."""

    def build(ratio):
        torch.manual_seed(0)
        return LSTMDecoder(9, LATENT, 3, 5, teacher_forcing=ratio)

    return build


SENTENCES = torch.tensor([[BOS, 4, 5, 3], [BOS, 3, 8, 4]])


def test_true_tokens_alone_are_forced_in_evaluation(forced):
    z = torch.randn(2, LATENT)
    assert torch.equal(forced(0.3).eval()(SENTENCES, z), forced(1.0)(SENTENCES, z))
    assert not torch.allclose(forced(0.0)(SENTENCES, z), forced(1.0)(SENTENCES, z))
    assert "teacher_forcing=0.3" in repr(forced(0.3))
    assert "teacher_forcing" not in repr(forced(1.0))


def test_a_decoder_without_teacher_reads_what_it_predicts(forced):
    """Each input is the most probable token of the step before, so the logits do not depend on the sentence."""
    decoder, z = forced(0.0), torch.randn(2, LATENT)
    found = decoder(SENTENCES, z)
    own = torch.cat([SENTENCES[:, :1], found[:, :-1].argmax(-1) + EOS], 1)
    torch.testing.assert_close(found, forced(1.0)(own, z))
    assert torch.equal(found, decoder(SENTENCES.flip(0), z))
    found.sum().backward()
    assert all(p.grad.isfinite().all() for p in decoder.parameters())


def test_the_share_of_true_tokens(forced):
    """Where the first prediction differs from the true token, the second logits tell which of the two was read."""
    decoder, z = forced(0.7), torch.zeros(1, LATENT).expand(400, -1)
    told = forced(1.0)(torch.tensor([[BOS]]), z[:1]).argmax().item() + EOS
    word = 3 if told != 3 else 4
    read = forced(1.0)(torch.tensor([[BOS, word]]), z[:1])[0, 1]
    torch.manual_seed(1)
    found = decoder(torch.tensor([[BOS, word]]).expand(400, -1), z)[:, 1]
    assert torch.isclose(found, read, atol=1e-6).all(-1).double().mean().item() == pytest.approx(0.7, abs=0.08)


@pytest.mark.parametrize("ratio", [-0.1, 1.5, float("nan"), "all"])
def test_a_share_is_from_0_to_1(ratio, says):
    with says(SettingError, "teacher_forcing requires a number from 0 to 1"):
        LSTMDecoder(9, LATENT, teacher_forcing=ratio)
