"""Distributions of sentences: they sum to one, padding adds nothing, and draws follow them."""

import itertools
import math

import pyro
import pytest
import torch
from pyro import poutine
from torch import nn

from pyrovae.data.tokens import BOS, EOS, PAD, UNK
from pyrovae.errors import ShapeError, SupportError
from pyrovae.guides import NormalGuide, SentenceEncoder
from pyrovae.inference import SVI, check_pair, evaluate, generate
from pyrovae.inference.compile.reasons import EagerWarning
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.models import Autoregressive, LanguageModel, LSTMDecoder, TextVAE, TransformerDecoder, priors
from pyrovae.models.decoders import WordDropout
from pyrovae.models.distributions.sentences import Sentences

WORDS, LATENT = 6, 2  # EOS, UNK and two words can follow
DECODERS = {
    "lstm": lambda latent=LATENT: LSTMDecoder(WORDS, latent, 3, 5),
    "transformer": lambda latent=LATENT: TransformerDecoder(WORDS, latent, 7, 4, 2, 1),
}


@pytest.fixture(params=DECODERS)
def decoder(request):
    built = DECODERS[request.param]()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(2.0)  # far from uniform
    return built.eval()


def every_sentence(width):
    """All sentences of that width: words, EOS, padding; of the full width without EOS too."""
    found = []
    for count in range(width + 1):
        for words in itertools.product(range(UNK, WORDS), repeat=count):
            found.append([*words, EOS, *[PAD] * width][:width])
    return torch.tensor(found)


def test_the_probabilities_of_all_sentences_sum_to_one(decoder):
    x = every_sentence(3)
    z = torch.randn(LATENT)
    with torch.no_grad():
        log_prob = Sentences(decoder, z.expand(len(x), -1), 3).log_prob(x)
    torch.testing.assert_close(log_prob.exp().sum(), torch.tensor(1.0))


def test_draws_have_their_probabilities(decoder):
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


def test_many_sentences_are_scored_in_parts(decoder, monkeypatch):
    z, x = torch.randn(4, 9, LATENT), every_sentence(3)[:9]
    whole = Sentences(decoder, z, 3).log_prob(x)
    assert whole.shape == (4, 9)
    monkeypatch.setattr("pyrovae.models.text.AT_ONCE", 1)
    torch.testing.assert_close(Sentences(decoder, z, 3).log_prob(x), whole)


def test_steps_are_the_whole_sentence_at_once(decoder):
    tokens, z = torch.tensor([[BOS, 4, 5, 3], [BOS, 3, 3, 4]]), torch.randn(2, LATENT)
    state, logits = decoder.start(z), []
    for token in tokens.T:
        one, state = decoder.step(token, state)
        logits.append(one)
    torch.testing.assert_close(torch.stack(logits, 1), decoder(tokens, z))


def test_the_transformer_sees_no_word_to_come():
    decoder, z = DECODERS["transformer"]().eval(), torch.randn(1, LATENT)
    before, after = torch.tensor([[BOS, 4, 5]]), torch.tensor([[BOS, 4, 3]])
    torch.testing.assert_close(decoder(before, z)[:, :2], decoder(after, z)[:, :2])
    assert not torch.allclose(decoder(before, z)[:, 2], decoder(after, z)[:, 2])


def test_a_longer_sentence_than_the_transformer_knows(says):
    with says(ShapeError, "8 tokens", "length=8"):
        DECODERS["transformer"]()(torch.full((1, 8), BOS), torch.zeros(1, LATENT))


def test_words_are_dropped_in_training_alone():
    drop, tokens = WordDropout(0.5), torch.full((20, 50), 5)
    tokens[:, 0] = BOS
    dropped = drop(tokens)
    assert (dropped[:, 0] == BOS).all()
    assert 0.4 < (dropped[:, 1:] == UNK).double().mean() < 0.6
    assert drop.eval()(tokens).equal(tokens)
    assert repr(drop) == "WordDropout(p=0.5)"


def test_a_language_model_is_a_pair_whose_evidence_is_exact(decoder):
    built = DECODERS["lstm"](latent=0).eval()
    model, x = LanguageModel(Autoregressive(built, 4)), every_sentence(3)[:20]

    def guide(x):
        """No latent, no site."""

    check_pair(model, guide, {"x": x})
    measured = evaluate(model, guide, {"x": x}, num_samples=2)
    with torch.no_grad():
        exact = Sentences(built, torch.zeros(20, 0), 3).log_prob(x)
    torch.testing.assert_close(measured.per_datum["log_evidence"].float(), exact)
    assert measured.rate.value == 0
    assert generate(model, 5, mean=False).shape == (5, 4)


def test_codes_of_any_leading_dimensions(decoder):
    model = TextVAE(priors.StandardNormal(LATENT), Autoregressive(decoder, 5))
    x = every_sentence(3)[:6]
    with pyro.plate("samples", 3, dim=-2), poutine.trace() as tracer:
        model(x)
    assert tracer.trace.nodes["x"]["fn"].log_prob(x).shape == (3, 6)
    assert model(size=2).shape == (2, 5)


def test_a_compiled_step_says_that_it_runs_eagerly(decoder):
    model = TextVAE(priors.StandardNormal(LATENT), Autoregressive(decoder, 5))
    guide, x = NormalGuide(SentenceEncoder(WORDS, 2 * LATENT, 3, 4)), every_sentence(3)[:6]
    with pytest.warns(EagerWarning):
        assert math.isfinite(SVI(model, guide, torch.optim.Adam).step(x))


def test_what_is_no_sentence(says):
    likelihood = Autoregressive(DECODERS["lstm"](), 3)
    likelihood.check(every_sentence(3))
    for wrong in ([[WORDS, EOS]], [[BOS, EOS]], [[-1, EOS]]):
        with says(SupportError, "int64 tokens 2, ..., 5"):
            likelihood.check(torch.tensor(wrong))
    with says(SupportError, "torch.float32"):
        likelihood.check(torch.tensor([[4.0, 2.0]]))
    for wrong in ([[4, PAD, EOS]], [[EOS, 4, PAD]], [[EOS, EOS, PAD]], [[4, PAD, PAD]]):
        with says(SupportError, "then one EOS", "1 are not"):
            likelihood.check(torch.tensor(wrong))
    with says(SupportError, "padding alone"):
        likelihood.check(torch.tensor([[PAD, PAD]]))


def test_evidence_of_an_empty_sentence_and_of_one_word_is_finite(decoder):
    model = TextVAE(priors.StandardNormal(LATENT), Autoregressive(decoder, 5))
    guide = NormalGuide(SentenceEncoder(WORDS, 2 * LATENT, 3, 4))
    for x in ([[EOS]], [[4, EOS]], [[4]], [[EOS, PAD], [4, EOS]]):
        assert log_terms(model, guide, {"x": torch.tensor(x)}, 3).log_weight.isfinite().all()
