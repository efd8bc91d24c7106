"""Perplexity, where it is known."""

import pytest
import torch

from pyrovae.data.tokens import EOS, PAD
from pyrovae.errors import ShapeError
from pyrovae.inference import evaluate, perplexity
from pyrovae.models import Autoregressive, LanguageModel, LSTMDecoder


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
