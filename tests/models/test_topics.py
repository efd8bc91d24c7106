"""Decoders of topics: a product of experts, a mixture, and what they emit by hand."""

import math

import pytest
import torch

from pyrovae.errors import SettingError, ShapeError
from pyrovae.models import VAE, MixtureOfTopics, ProductOfTopics, TopicDecoder
from pyrovae.models.likelihoods import Multinomial
from pyrovae.models.priors import LogisticNormal


def test_a_product_is_proportional_to_the_powers_of_its_topics():
    decoder = ProductOfTopics(3, 5, normalise=False).eval()
    shares = torch.tensor([0.2, 0.5, 0.3])
    alone = decoder.mixed(torch.eye(3)).softmax(-1)
    product = (alone.log() * shares[:, None]).sum(0).exp()
    torch.testing.assert_close(decoder(shares.log()).softmax(-1), product / product.sum())


@pytest.mark.parametrize("embedding", [None, 4])
def test_a_mixture_is_the_mean_of_its_topics(embedding):
    decoder = MixtureOfTopics(3, 5, embedding)
    shares = torch.tensor([0.2, 0.5, 0.3])
    torch.testing.assert_close(decoder.scores().exp().sum(-1), torch.ones(3))
    torch.testing.assert_close(decoder(shares.log()).softmax(-1), shares @ decoder.scores().exp())


def test_a_mixture_of_embeddings_is_an_inner_product():
    decoder = MixtureOfTopics(3, 5, 4)
    torch.testing.assert_close(decoder.scores(), (decoder.alpha @ decoder.rho.T).log_softmax(-1))
    assert not hasattr(MixtureOfTopics(3, 5, None), "rho")


@pytest.mark.parametrize(
    "decoder", [ProductOfTopics(3, 5), ProductOfTopics(3, 5, normalise=False), MixtureOfTopics(3, 5)]
)
def test_decoders_start_near_the_frequencies_of_the_words(decoder):
    output = Multinomial(5).start(torch.tensor([[50.0, 20.0, 10.0, 5.0, 15.0]]))
    decoder.eval().start_at(output)
    if isinstance(decoder, MixtureOfTopics):
        decoder.alpha.data.mul_(0.1)
    mean = torch.stack([decoder(z).log_softmax(-1) for z in torch.randn(200, 3)]).mean(0)
    torch.testing.assert_close(mean, output, atol=0.7, rtol=0)


@pytest.mark.parametrize("decoder", [ProductOfTopics, MixtureOfTopics])
def test_words_may_have_places_that_stay(decoder, says):
    places = torch.randn(5, 2)
    built = decoder(3, 5, places)
    assert "rho" not in dict(built.named_parameters())
    torch.testing.assert_close(built.weight(), built.alpha @ places.T)
    with says(ShapeError, "5 words", "(4, 2)"):
        decoder(3, 5, places[:4])


def test_the_scores_of_a_product_are_those_of_evaluation_in_either_mode():
    decoder = ProductOfTopics(3, 5)
    decoder(torch.randn(50, 3))
    training = decoder.scores()
    torch.testing.assert_close(decoder.eval().mixed(torch.eye(3)).log_softmax(-1), training)


def test_shares_are_the_softmax_of_the_latent_or_the_latent_itself():
    z = torch.rand(2, 3)
    torch.testing.assert_close(MixtureOfTopics(3, 5).shares(z), z.softmax(-1))
    assert MixtureOfTopics(3, 5, simplex=True).shares(z) is z
    with pytest.raises(ShapeError):
        MixtureOfTopics(3, 5).shares(torch.rand(2, 4))


def test_batch_norm_makes_a_document_depend_on_the_batch_in_training_alone():
    """In evaluation mode a document has one density, whatever stands beside it; in training it has not."""
    decoder, z = ProductOfTopics(3, 5, dropout=0.0), 3 * torch.randn(8, 3)
    together, alone = decoder(z)[:4], decoder(z[:4])
    assert (together - alone).abs().max() > 0.1
    decoder.eval()
    torch.testing.assert_close(decoder(z)[:4], decoder(z[:4]))


def test_a_pair_of_topics_generates_documents():
    model = VAE(LogisticNormal(3), Multinomial(5, 12), ProductOfTopics(3, 5)).eval()
    x = model(size=7)
    assert x.shape == (7, 5)
    assert (x.sum(1) == 12).all()


@pytest.mark.parametrize(
    "decoder", [ProductOfTopics(3, 5), ProductOfTopics(3, 5, normalise=False), MixtureOfTopics(3, 5, None)]
)
def test_decoders_start_at_given_topics(decoder):
    output = torch.randn(3, 5)
    decoder.eval().start_at(output)
    torch.testing.assert_close(decoder.scores(), output.log_softmax(-1), atol=1e-4, rtol=0)


def test_topics_of_places_start_at_the_nearest_ones(says):
    places = torch.randn(9, 2)
    decoder, near = MixtureOfTopics(3, 9, places), torch.randn(3, 2)
    output = near @ places.T
    decoder.start_at(output)
    torch.testing.assert_close(decoder.scores(), output.log_softmax(-1), atol=1e-4, rtol=0)
    with says(ShapeError, "(9,) or (3, 9)", "(2, 9)"):
        decoder.start_at(output[:2])


@pytest.mark.parametrize("decoder", [ProductOfTopics(3, 6, normalise=False), MixtureOfTopics(3, 6, None)])
def test_the_divergence_of_topics_is_the_information_of_a_word_about_its_topic(decoder):
    """Zero for equal topics, log K for disjoint ones, and H(w) - H(w | k) between, for topics of equal shares."""
    decoder.start_at(torch.randn(6).expand(3, 6))
    assert decoder.divergence().item() == pytest.approx(0, abs=1e-5)
    decoder.start_at(torch.where(torch.eye(3).repeat_interleave(2, 1) > 0, 0.0, -30.0))
    assert decoder.divergence().item() == pytest.approx(math.log(3), rel=1e-5)
    probs = torch.rand(3, 6).softmax(-1)
    decoder.start_at(probs.log())
    given = torch.distributions.Categorical(probs).entropy().mean()
    exact = torch.distributions.Categorical(probs.mean(0)).entropy() - given
    torch.testing.assert_close(decoder.divergence(), exact, atol=1e-5, rtol=1e-3)


def test_a_prior_makes_topics_differ():
    decoder = MixtureOfTopics(3, 6, None)
    optim = torch.optim.Adam(decoder.parameters(), lr=0.3)
    for _ in range(300):
        optim.zero_grad()
        (-decoder.divergence()).backward()
        optim.step()
    assert decoder.divergence().item() == pytest.approx(math.log(3), abs=0.01)


def test_settings(says):
    with says(SettingError, "topics", "2"):
        ProductOfTopics(1, 5)
    with says(SettingError, "embedding", "0"):
        MixtureOfTopics(3, 5, 0)
    with says(SettingError, "dropout", "1.5"):
        MixtureOfTopics(3, 5, dropout=1.5)
    with pytest.raises(TypeError, match="abstract"):
        TopicDecoder(3, 5, None, simplex=False, dropout=0.0)


def test_repr():
    assert repr(ProductOfTopics(3, 5)).startswith("ProductOfTopics(\n  topics=3, words=5")
    assert "embedding=4" in repr(MixtureOfTopics(3, 5, 4, simplex=True))
    assert "simplex=True" in repr(MixtureOfTopics(3, 5, 4, simplex=True))
