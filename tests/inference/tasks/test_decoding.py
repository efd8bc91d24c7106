"""Ways to write a sentence, against every sentence there is."""

import itertools

import pytest
import torch

from pyrovae.data.tokens import BOS, EOS, PAD, UNK
from pyrovae.errors import PairError, SettingError
from pyrovae.inference import decode_beam, decode_greedy, decode_sampled
from pyrovae.models import Autoregressive, LSTMDecoder, TextVAE, TransformerDecoder, likelihoods, priors
from pyrovae.models.distributions.sentences import Sentences
from pyrovae.models.vae import VAE
from pyrovae.networks.dense import MLP

WORDS, LATENT, WIDTH = 6, 2, 4


@pytest.fixture(params=["lstm", "transformer"])
def model(request):
    if request.param == "lstm":
        decoder = LSTMDecoder(WORDS, LATENT, 3, 5)
    else:
        decoder = TransformerDecoder(WORDS, LATENT, WIDTH, 4, 2, 1)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(2.0)
    return TextVAE(priors.StandardNormal(LATENT), Autoregressive(decoder, WIDTH)).eval()


def scored(model, z, unknown=True):
    """Every sentence, and its log-probability given each code, `(N, sentences)`."""
    words = range(UNK if unknown else UNK + 1, WORDS)
    x = torch.tensor(
        [[*s, EOS, *[PAD] * WIDTH][:WIDTH] for n in range(WIDTH + 1) for s in itertools.product(words, repeat=n)]
    )
    with torch.no_grad():
        return x, Sentences(model.likelihood.decoder, z.unsqueeze(1), WIDTH).log_prob(x.expand(len(z), -1, -1))


def log_prob(model, z, x):
    with torch.no_grad():
        return Sentences(model.likelihood.decoder, z, WIDTH).log_prob(x)


def test_enough_beams_find_the_most_probable_sentence(model):
    z = torch.randn(5, LATENT)
    x, scores = scored(model, z)
    found = decode_beam(model, z, num_beams=200, unknown=True)
    assert found.equal(x[scores.argmax(1)])
    torch.testing.assert_close(log_prob(model, z, found), scores.amax(1))


def test_one_beam_is_greedy_and_more_are_no_worse(model):
    z = torch.randn(20, LATENT)
    greedy = decode_greedy(model, z)
    assert decode_beam(model, z, num_beams=1).equal(greedy)
    assert greedy.equal(torch.cat([decode_greedy(model, one[None]) for one in z]))
    assert greedy.equal(decode_sampled(model, z, temperature=1e-4))
    assert greedy.equal(decode_sampled(model, z, top_p=1e-9))
    assert (log_prob(model, z, decode_beam(model, z, num_beams=50)) >= log_prob(model, z, greedy) - 1e-5).all()


def test_samples_have_the_probabilities_of_the_model(model):
    z = torch.randn(1, LATENT)
    x, scores = scored(model, z)
    drawn = decode_sampled(model, z.expand(3000, -1), unknown=True)
    seen = (drawn.unsqueeze(1) == x).all(-1).float().mean(0)
    expected = scores[0].exp()
    assert seen.sum() == pytest.approx(1.0)
    assert ((seen - expected).abs() < 4.5 * (expected / 3000).sqrt() + 1e-3).all()


def test_top_p_keeps_the_fewest_words_that_hold_it(model):
    z = torch.randn(1, LATENT)
    first = model.likelihood.decoder.step(torch.tensor([BOS]), model.likelihood.decoder.start(z))[0].softmax(-1)[0]
    for top_p in (0.3, 0.6, 0.95):
        ranked = first.sort(descending=True)
        kept = ranked.indices[: int((ranked.values.cumsum(0) < top_p).sum()) + 1] + EOS
        drawn = decode_sampled(model, z.expand(500, -1), top_p=top_p, unknown=True)[:, 0]
        assert set(drawn.tolist()) <= set(kept.tolist())


def test_unk_is_written_only_if_asked_for(model):
    z = torch.randn(200, LATENT)
    for write in (decode_greedy, decode_sampled, decode_beam):
        x = write(model, z)
        assert not (x == UNK).any()
        model.likelihood.check(x)
    assert (decode_sampled(model, z, unknown=True) == UNK).any()


def test_codes_of_any_leading_dimensions_and_seeds(model):
    z = torch.randn(2, 3, LATENT)
    for write in (decode_greedy, decode_sampled, decode_beam):
        assert write(model, z).shape == (2, 3, WIDTH)
    state = torch.get_rng_state()
    one, two, other = (decode_sampled(model, z, seed=seed) for seed in (1, 1, 2))
    assert one.equal(two)
    assert not one.equal(other)
    assert torch.get_rng_state().equal(state)


def test_what_cannot_write(model, says):
    z = torch.zeros(1, LATENT)
    with says(SettingError, "num_beams requires a whole number", "got 0"):
        decode_beam(model, z, num_beams=0)
    for name, value in (("temperature", 0.0), ("temperature", float("nan")), ("top_p", 0.0), ("top_p", 1.5)):
        with says(SettingError, f"{name} requires", str(value)):
            decode_sampled(model, z, **{name: value})
    other = VAE(priors.StandardNormal(LATENT), likelihoods.Bernoulli(3), MLP(LATENT, 3))
    with says(PairError, "VAE has Bernoulli", "TextVAE"):
        decode_greedy(other, z)
