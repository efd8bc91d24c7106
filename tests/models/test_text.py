"""Models of sentences: pairs, the exact evidence of a language model, and the check of sentences."""

import copy

import pyro
import pytest
import torch
from pyro import poutine

from pyrovae.data.tokens import BOS, EOS, PAD
from pyrovae.errors import SupportError
from pyrovae.guides import NormalGuide, SentenceEncoder
from pyrovae.inference import SVI, check_pair, evaluate, generate
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.models import Autoregressive, LanguageModel, TextVAE, priors
from pyrovae.models.distributions import Sentences

WORDS, LATENT = 6, 2


def test_a_language_model_is_a_pair_whose_evidence_is_exact(decoders, every_sentence):
    built = decoders["lstm"](latent=0).eval()
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


def test_codes_of_any_leading_dimensions(decoder, every_sentence):
    model = TextVAE(priors.StandardNormal(LATENT), Autoregressive(decoder, 5))
    x = every_sentence(3)[:6]
    with pyro.plate("samples", 3, dim=-2), poutine.trace() as tracer:
        model(x)
    assert tracer.trace.nodes["x"]["fn"].log_prob(x).shape == (3, 6)
    assert model(size=2).shape == (2, 5)


def test_sentences_of_different_lengths_are_captured(decoder, every_sentence, captured_only):
    model = TextVAE(priors.StandardNormal(LATENT), Autoregressive(decoder, 5))
    guide, x = NormalGuide(SentenceEncoder(WORDS, 2 * LATENT, 3, 4)), every_sentence(3)
    pairs = (model, guide), copy.deepcopy((model, guide))
    losses = []
    for pair, compile in zip(pairs, (True, False), strict=True):
        svi = SVI(*pair, torch.optim.Adam, compile=compile)
        torch.manual_seed(0)
        losses.append([svi.step(x) for _ in range(5)])  # the third is captured, and verified
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_what_is_no_sentence(decoders, every_sentence, says):
    likelihood = Autoregressive(decoders["lstm"](), 3)
    likelihood.check(every_sentence(3))
    for wrong in ([[WORDS, EOS]], [[BOS, EOS]], [[-1, EOS]]):
        with says(SupportError, "int64 tokens 2, ..., 5"):
            likelihood.check(torch.tensor(wrong))
    with says(SupportError, "torch.float32"):
        likelihood.check(torch.tensor([[4.0, 2.0]]))
    for wrong in ([[4, PAD, EOS]], [[EOS, 4, PAD]], [[EOS, EOS, PAD]], [[4, PAD, PAD]]):
        with says(SupportError, "then one EOS", "got 1 at site 'x'"):
            likelihood.check(torch.tensor(wrong))
    with says(SupportError, "padding alone"):
        likelihood.check(torch.tensor([[PAD, PAD]]))


def test_evidence_of_an_empty_sentence_and_of_one_word_is_finite(decoder):
    model = TextVAE(priors.StandardNormal(LATENT), Autoregressive(decoder, 5))
    guide = NormalGuide(SentenceEncoder(WORDS, 2 * LATENT, 3, 4))
    for x in ([[EOS]], [[4, EOS]], [[4]], [[EOS, PAD], [4, EOS]]):
        assert log_terms(model, guide, {"x": torch.tensor(x)}, 3).log_weight.isfinite().all()
