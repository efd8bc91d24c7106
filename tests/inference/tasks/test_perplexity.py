"""Perplexity, where it is known."""

import math

import pytest
import torch

from pyrovae.data.tokens import EOS, PAD
from pyrovae.errors import ShapeError
from pyrovae.guides import NormalGuide, SentenceEncoder
from pyrovae.inference import evaluate, perplexity
from pyrovae.models import Autoregressive, LanguageModel, LSTMDecoder, TextVAE, priors


def test_the_bias_of_the_evidence_is_one_of_the_perplexity():
    """exp(-log p(x) / T) is convex, so the tangent is below it, by little where the bias is small."""
    x = torch.tensor([[4, 5, EOS], [6, EOS, PAD]])
    torch.manual_seed(0)
    model = TextVAE(priors.StandardNormal(2), Autoregressive(LSTMDecoder(9, 2, 3, 4), 3))
    guide = NormalGuide(SentenceEncoder(9, 4, 3, 4))
    measured = evaluate(model, guide, {"x": x}, num_samples=50)
    found = perplexity(measured, x)
    exact = math.exp(-measured.log_evidence.corrected.value * 2 / 5)
    assert found.value == pytest.approx(math.exp(-measured.log_evidence.value * 2 / 5))
    assert found.bias.value > 0
    assert found.corrected.value == pytest.approx(exact, abs=0.1 * found.bias.value + 1e-9)
    assert found.flagged is measured.log_evidence.flagged


def test_the_perplexity_of_uniform_words_is_their_number(says):
    model = LanguageModel(Autoregressive(LSTMDecoder(9, 0, 3, 4), 3))
    torch.nn.init.zeros_(model.likelihood.decoder.head.weight)
    torch.nn.init.zeros_(model.likelihood.decoder.head.bias)
    x = torch.tensor([[4, 5, EOS], [EOS, PAD, PAD]])
    measured = evaluate(model, lambda x: None, {"x": x}, num_samples=1)
    found = perplexity(measured, x)
    assert found.value == pytest.approx(7)  # EOS, UNK and five words
    assert found.error == pytest.approx(0, abs=1e-6)
    with says(ShapeError, "2 sentences", "got 1"):
        perplexity(measured, x[:1])
