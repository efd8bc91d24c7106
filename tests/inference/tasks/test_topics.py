"""Topics: coherence and diversity by hand, shares of documents, nats per word."""

import math

import pytest
import torch
from torch import nn

from pyrovae.errors import PairError, SettingError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import (
    evaluate,
    fit,
    nats_per_word,
    npmi,
    relevance,
    topic_diversity,
    topic_scores,
    topic_shares,
    topics,
)
from pyrovae.models import VAE, MixtureOfTopics, ProductOfTopics, likelihoods, priors
from pyrovae.networks import MLP, BagEncoder

COUNTS = torch.tensor([[1, 2, 0, 0], [3, 1, 0, 0], [0, 0, 1, 0], [0, 1, 1, 0]])
"""Words 0 and 1 come together, 0 and 2 never, 3 nowhere."""


def scores(*tops, words=4):
    """Topics whose most important words are these, in their order."""
    return torch.stack(
        [torch.zeros(words).index_put((torch.tensor(top),), torch.arange(len(top), 0, -1.0)) for top in tops]
    )


def test_npmi_is_its_formula():
    found = npmi(scores([0, 1], [0, 2], [1, 2], [0, 3]), COUNTS, num_words=2)
    assert found[0].item() == pytest.approx(math.log(0.5 / (0.5 * 0.75)) / -math.log(0.5))
    assert found[1].item() == -1
    assert found[2].item() == pytest.approx(math.log(0.25 / (0.75 * 0.5)) / -math.log(0.25))
    assert found[3].item() == -1


def test_npmi_has_its_ends():
    always = torch.ones(3, 2)
    assert npmi(scores([0, 1], words=2), always, num_words=2).item() == 1
    together = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert npmi(scores([0, 1], words=2), together, num_words=2).item() == pytest.approx(1)
    independent = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert npmi(scores([0, 1], words=2), independent, num_words=2).item() == pytest.approx(0)


def test_npmi_of_more_words_is_the_mean_over_their_pairs():
    pairs = [npmi(scores(pair), COUNTS, num_words=2).item() for pair in ([0, 1], [0, 2], [1, 2])]
    assert npmi(scores([0, 1, 2]), COUNTS, num_words=3).item() == pytest.approx(sum(pairs) / 3)


def test_diversity_is_the_share_of_different_words():
    assert topic_diversity(scores([0, 1], [2, 3]), num_words=2) == 1
    assert topic_diversity(scores([0, 1], [0, 1]), num_words=2) == 0.5
    assert topic_diversity(scores([0, 1], [0, 2]), num_words=2) == 0.75


def test_topics_are_a_table_in_the_order_of_their_coherence():
    found = topics(scores([0, 2], [1, 0]), ["cat", "dog", "sun", "sky"], COUNTS, num_words=2)
    assert found.words == (("cat", "sun"), ("dog", "cat"))
    assert found.diversity == 0.5  # of the 4 words that both topics have
    assert found.coherence == pytest.approx(found.npmi.mean().item())
    lines = str(found).splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["1", "0"]
    assert "dog cat" in lines[1]
    assert f"mean NPMI {found.coherence:.3f}" in lines[-1]


def test_what_does_not_fit_together(says):
    with says(ShapeError, "counts", "(N, 4)", "(4, 3)"):
        npmi(scores([0, 1]), COUNTS[:, :3], num_words=2)
    with says(ShapeError, "words", "4"):
        topics(scores([0, 1]), ["cat"], COUNTS, num_words=2)
    with says(SettingError, "num_words", "1"):
        npmi(scores([0, 1]), COUNTS, num_words=1)
    with says(SettingError, "num_words", "10"):
        topic_diversity(scores([0, 1]), num_words=10)


def test_relevance_prefers_words_that_are_rare_elsewhere(says):
    counts, found = torch.tensor([[90.0, 9.0, 0.0]]), torch.tensor([[0.6, 0.3, 0.1]]).log()
    frequencies = torch.tensor([90.5, 9.5, 0.5]) / 100.5
    exact = 0.7 * found + 0.3 * (found - frequencies.log())
    torch.testing.assert_close(relevance(found, counts, weight=0.7), exact)
    assert torch.equal(relevance(found, counts, weight=1.0), found)
    assert relevance(found, counts, weight=0.0).argmax() == 2
    with says(SettingError, "weight", "1.5"):
        relevance(found, counts, weight=1.5)
    with says(ShapeError, "(N, 3)", "(1, 2)"):
        relevance(found, counts[:, :2])


def documents(size):
    """Documents of words 0 to 3 alone, or of words 4 to 7 alone; and which."""
    y = torch.arange(size) % 2
    words = torch.where(torch.arange(8) < 4, 0.0, -9.0)
    return likelihoods.Multinomial(8, 30)(torch.where(y[:, None] == 0, words, words.flip(0))).sample(), y


@pytest.mark.parametrize("decoder", [ProductOfTopics, MixtureOfTopics])
def test_two_topics_are_found(decoder):
    x, y = documents(200)
    model = VAE(priors.LogisticNormal(2), likelihoods.Multinomial(8, 30), decoder(2, 8, dropout=0.0))
    guide = NormalGuide(BagEncoder(8, 4, (20,), 0.0))
    fit(model, guide, {"x": x}, epochs=40, batch_size=50, optim=(torch.optim.Adam, {"lr": 0.03}), compile=False)
    tops = {frozenset(row) for row in topic_scores(model).topk(4, -1).indices.tolist()}
    assert tops == {frozenset(range(4)), frozenset(range(4, 8))}
    shares = topic_shares(model, guide, {"x": x})
    assert shares.shape == (200, 2)
    torch.testing.assert_close(shares.sum(1), torch.ones(200))
    first = shares[:, 0] > 0.5
    assert (first == (y == y[0])).all() or (first != (y == y[0])).all()
    nats = nats_per_word(evaluate(model, guide, {"x": x}, num_samples=20), x)
    assert math.log(4) < nats.value < math.log(4) + 0.3  # four equally frequent words


def test_nats_per_word_of_uniform_words_are_the_logarithm_of_their_number(says):
    x = likelihoods.Multinomial(8, 30)(torch.zeros(5, 8)).sample()
    decoder = ProductOfTopics(2, 8, normalise=False)
    nn.init.zeros_(decoder.free)
    model = VAE(priors.LogisticNormal(2), likelihoods.Multinomial(8), decoder)
    measured = evaluate(model, NormalGuide(BagEncoder(8, 4)), {"x": x}, num_samples=500)
    assert nats_per_word(measured, x).value == pytest.approx(math.log(8), abs=1e-2)
    bias = measured.log_evidence.bias.value * 5 / x.sum().item()
    assert nats_per_word(measured, x).bias.value == pytest.approx(-bias)
    bound = nats_per_word(measured, x, bound=True)
    assert bound.value == pytest.approx(math.log(8) + measured.rate.value / 30, abs=0.02)
    assert bound.error == pytest.approx(measured.elbo.error / 30)
    with says(ShapeError, "the 5 documents", "got 4"):
        nats_per_word(measured, x[:4])


def test_a_pair_without_topics(says):
    pair = VAE(priors.StandardNormal(2), likelihoods.Poisson(8), MLP(2, 8)), NormalGuide(MLP(8, 4))
    with says(PairError, "topic_scores requires a model with one TopicDecoder, got 0", "ProductOfTopics(K, V)"):
        topic_scores(pair[0])
    with says(PairError, "topic_shares"):
        topic_shares(*pair, {"x": torch.zeros(3, 8)})
    model = VAE(priors.LogisticNormal(2), likelihoods.Multinomial(8), ProductOfTopics(2, 8))
    with says(PairError, "'w'", "latent='z'"):
        topic_shares(model, NormalGuide(BagEncoder(8, 4)), {"x": torch.zeros(3, 8)}, latent="w")
