"""Distributions of sentences: they sum to one, padding adds nothing, and draws follow them."""

import torch
from torch import nn

from pyrovae.data.tokens import EOS
from pyrovae.models.distributions import Sentences

LATENT = 2


def test_the_probabilities_of_all_sentences_sum_to_one(decoder, every_sentence):
    x = every_sentence(3)
    z = torch.randn(LATENT)
    with torch.no_grad():
        log_prob = Sentences(decoder, z.expand(len(x), -1), 3).log_prob(x)
    torch.testing.assert_close(log_prob.exp().sum(), torch.tensor(1.0))


def test_draws_have_their_probabilities(decoder, every_sentence):
    x = every_sentence(2)
    z = torch.randn(1, LATENT)
    p = Sentences(decoder, z, 2)
    with torch.no_grad():
        expected = p.log_prob(x).exp()
    drawn = p.sample((4000,)).squeeze(1)
    seen = (drawn.unsqueeze(1) == x).all(-1).double().mean(0)
    assert seen.sum() == 1
    error = (expected * (1 - expected) / 4000).sqrt()
    assert ((seen - expected).abs() < 4.5 * error + 1e-4).all()


def test_a_sentence_has_one_probability_alone_and_in_any_batch(decoder):
    sentences = [torch.tensor([4, 5, 4, 3, 5, EOS]), torch.tensor([EOS]), torch.tensor([5, EOS])]
    z = torch.randn(3, LATENT)
    x = nn.utils.rnn.pad_sequence(sentences, batch_first=True)
    with torch.no_grad():
        together = Sentences(decoder, z, 7).log_prob(nn.functional.pad(x, (0, 1)))
        for i, sentence in enumerate(sentences):
            alone = Sentences(decoder, z[i : i + 1], len(sentence)).log_prob(sentence[None])
            torch.testing.assert_close(together[i], alone[0], rtol=0, atol=1e-5)


def test_many_sentences_are_scored_in_parts(decoder, every_sentence, monkeypatch):
    z, x = torch.randn(4, 9, LATENT), every_sentence(3)[:9]
    whole = Sentences(decoder, z, 3).log_prob(x)
    assert whole.shape == (4, 9)
    monkeypatch.setattr("pyrovae.models.distributions.sentences.AT_ONCE", 1)
    torch.testing.assert_close(Sentences(decoder, z, 3).log_prob(x), whole)
