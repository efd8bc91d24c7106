"""Stated errors are those that many seeds show, and where an error cannot be known it is not stated."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import NonFiniteError, PairError, SettingError
from pyrovae.guides import NormalGuide, ZeroFilled
from pyrovae.inference import Annealing, Estimate, annealed, evaluate, log_evidence
from pyrovae.inference.pair.tails import Tail
from pyrovae.models import VAE, Autoregressive, LanguageModel, LSTMDecoder, Masked, likelihoods, priors
from pyrovae.networks.dense import MLP

ROWS = 1000


@pytest.fixture
def shared():
    """mu ~ N(0, 1), x_n ~ N(mu, 1): all data points share mu. The guide is wider than p(mu | x)."""

    def model(x, data_size=None):
        mu = pyro.sample("mu", dist.Normal(torch.tensor(0.0), 1.0))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(mu, 1.0), obs=x)

    def guide(x, data_size=None):
        pyro.sample("mu", dist.Normal(torch.tensor(0.7), 0.1))

    return model, guide


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 20 * 300], ids=["one chunk", "chunks"])
@pytest.mark.parametrize("name", ["elbo", "rate", "distortion"])
def test_the_errors_of_data_points_that_share_a_latent(name, memory, shared):
    data = {"x": 0.5 + torch.randn(ROWS)}
    found = [getattr(evaluate(*shared, data, num_samples=20, memory=memory, seed=s), name) for s in range(60)]
    seen = torch.tensor([one.value for one in found]).std().item()
    stated = sum(one.error for one in found) / len(found)
    assert stated == pytest.approx(seen, rel=0.35)  # 60 seeds know it to 9 %, 20 draws to 16 %


def test_the_values_of_data_points_that_share_a_latent(shared):
    """The rate is KL(N(0.7, 0.1) || N(0, 1)) / N for each data point."""
    measured = evaluate(*shared, {"x": torch.zeros(ROWS)}, num_samples=3000)
    rate = math.log(10) + (0.01 + 0.49) / 2 - 0.5
    assert measured.rate.value * ROWS == pytest.approx(rate, abs=5 * measured.rate.error * ROWS)
    assert measured.distortion.value == pytest.approx(0.5 * (math.log(2 * math.pi) + 0.5), abs=0.05)


def test_data_points_that_share_a_latent_have_no_evidence_of_their_own(shared, says):
    measured = evaluate(*shared, {"x": torch.zeros(5)}, num_samples=30)
    assert str(measured.log_evidence) == "- ± -"
    assert math.isnan(measured.unreliable)
    assert math.isnan(measured.effective_sample_size)
    with says(PairError, "independent", "condition"):
        log_evidence(*shared, {"x": torch.zeros(5)}, num_samples=30)


# ------------------------------------------------------------------------------------------ one draw


def test_one_draw_shows_no_error(ppca):
    measured = evaluate(ppca.model, ppca.guide(0.3), ppca.data(5), num_samples=1)
    for name in ("elbo", "rate", "distortion", "log_evidence"):
        assert math.isnan(getattr(measured, name).error), name
    assert str(measured.elbo) == f"{measured.elbo.value:.2f} ± -"
    assert "nan" not in str(measured)
    chain = annealed(ppca.model, ppca.guide(), ppca.data(3), Annealing(num_chains=1, num_temperatures=2))
    assert math.isnan(chain.log_evidence.error)


def test_without_latents_one_draw_is_exact():
    model = LanguageModel(Autoregressive(LSTMDecoder(9, 0, 3, 4), 3))
    x = torch.tensor([[4, 5, 2], [2, 0, 0]])
    one, many = (evaluate(model, lambda x: None, {"x": x}, num_samples=count) for count in (1, 30))
    assert one.log_evidence == pytest.approx(many.log_evidence, abs=1e-6)
    assert one.log_evidence.error == 0


# ------------------------------------------------------------------------------------------ heavy tails


def test_a_guide_that_is_too_narrow_is_flagged(ppca):
    """The estimate is short by nats, and the delta method states hundredths."""
    data = ppca.data(40)
    exact = ppca.evidence.log_prob(data["x"]).mean().item()
    narrow = evaluate(ppca.model, ppca.guide(0.0, 0.25), data, num_samples=200)
    assert exact - narrow.log_evidence.value > 5 * narrow.log_evidence.error
    assert narrow.unreliable > 0.5
    assert "k-hat above 0.7 for" in str(narrow)
    right = evaluate(ppca.model, ppca.guide(0.1, 1.2), data, num_samples=200)
    assert right.unreliable == 0
    assert "k-hat > 0.7: 0 %" in str(right)
    assert "k-hat above" not in str(right)
    assert math.isnan(evaluate(ppca.model, ppca.guide(), data, num_samples=20).unreliable)


def test_the_tail_of_chunks_is_that_of_all_draws():
    log_weight = 3 * torch.randn(400, 7)
    whole = Tail.of(log_weight, 400)
    merged = Tail.of(log_weight[:3], 400).merge(Tail.of(log_weight[3:250], 400)).merge(Tail.of(log_weight[250:], 400))
    assert torch.equal(whole.largest, merged.largest)
    assert torch.equal(whole.khat, merged.khat)


@pytest.mark.parametrize("memory", [2**28, 64 * 128 * 20])
def test_khat_is_computed_over_chunks(ppca, memory):
    measured = evaluate(ppca.model, ppca.guide(0.3, 0.8), ppca.data(5), num_samples=100, memory=memory)
    assert measured.per_datum["khat"].shape == (5,)
    assert measured.per_datum["khat"].isfinite().all()


# ------------------------------------------------------------------------------------------ bits per number


def test_bits_per_dim_of_masked_data_count_what_was_observed():
    """Half of the entries say nothing: their bits are not spread over all."""
    likelihood = likelihoods.Normal(4, scale=1.0)
    vae = VAE(priors.StandardNormal(2), likelihood, MLP(2, 4))
    for parameter in vae.decoder.parameters():
        parameter.data.zero_()
    guide = ZeroFilled(NormalGuide(MLP(4, 4)))
    x, mask = torch.ones(6, 4), torch.ones(6, 4, dtype=torch.bool)
    mask[:, 1:3] = False
    mask[0, 0] = False
    measured = evaluate(Masked(vae), guide, {"x": x, "mask": mask}, num_samples=2000)
    assert measured.dims == pytest.approx(11 / 6)
    bits = 0.5 * (math.log(2 * math.pi) + 1) / math.log(2)
    assert measured.bits_per_dim == pytest.approx(bits, abs=0.1)


def test_bits_per_dim_require_x(says):
    def model(t):
        with pyro.plate("data", len(t), dim=-1):
            pyro.sample("t", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=t)

    def guide(t):
        with pyro.plate("data", len(t), dim=-1):
            pyro.sample("z", dist.Normal(t / 2, 0.5**0.5))

    measured = evaluate(model, guide, {"t": torch.randn(5)}, num_samples=2)
    with says(PairError, "'x'", "log_evidence.bits_per_dim(dims)"):
        _ = measured.bits_per_dim
    assert measured.log_evidence.bits_per_dim(1).value == pytest.approx(-measured.log_evidence.value / math.log(2))
    for wrong in (0, -1, math.nan):
        with says(SettingError, "dims"):
            Estimate(-1.0, 0.1).bits_per_dim(wrong)


# ------------------------------------------------------------------------------------------ NaN


def test_weights_that_are_nan_are_named(says):
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Normal(4), MLP(2, 4)), NormalGuide(MLP(4, 4))
    model.decoder.layers[0].bias.data[1] = torch.nan
    with says(NonFiniteError, "NaN for 5 data points", "check_pair"):
        log_evidence(model, guide, {"x": torch.randn(5, 4)}, num_samples=30)
