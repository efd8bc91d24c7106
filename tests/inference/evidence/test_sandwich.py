"""Bidirectional Monte Carlo, where p(x) is exact, and on other pairs."""

import math
from dataclasses import replace

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.errors import PairError, SettingError, ShapeError
from pyrovae.guides import ConditionalGuide, NormalGuide
from pyrovae.inference import Annealing, Estimate, sandwich
from pyrovae.inference.evidence.sandwich import _below
from pyrovae.inference.pair.running import seeded
from pyrovae.models import ConditionalVAE, likelihoods, priors
from pyrovae.networks.joint import JointMLP

CPU = torch.device("cpu")
SHORT = Annealing(num_temperatures=12, num_leapfrog=4)


def test_the_sandwich_brackets_the_exact_evidence(ppca):
    both = sandwich(ppca.model, ppca.guide(0.1, 1.2), 100, SHORT, num_samples=200, compile=False)
    assert both.gap.value < 0.1
    assert both.gap.value > -3 * both.gap.error
    with seeded(0, CPU):
        x = poutine.trace(ppca.model).get_trace(size=100).nodes["x"]["value"]
    exact = ppca.evidence.log_prob(x).mean().item()
    assert both.lower.log_evidence.value < exact + 3 * both.lower.log_evidence.error
    assert both.upper.log_evidence.value > exact - 3 * both.gap.error
    assert both.gap.value == pytest.approx(both.upper.log_evidence.value - both.lower.log_evidence.value)


def test_the_sandwich_measures_how_far_the_elbo_is_off(ppca):
    """log p(x) - ELBO = KL(q || p(z | x)), which has a closed form."""
    both = sandwich(ppca.model, ppca.guide(0.3, 1.3), 60, replace(SHORT, num_temperatures=40), compile=False)
    q = dist.MultivariateNormal(torch.full((2,), 0.3).double(), ppca.covariance * 1.3**2)
    kl = torch.distributions.kl_divergence(q, dist.MultivariateNormal(torch.zeros(2).double(), ppca.covariance)).item()
    low, high = both.shortfall("elbo")
    assert low.value - 3 * low.error < kl < high.value + 3 * high.error
    assert high.value - low.value == pytest.approx(both.gap.value)
    assert "below log p(x) by" in str(both)
    assert [line.split()[0] for line in str(both).splitlines()] == ["upper", "lower", "gap", "5,000", "ELBO", "nats"]


def test_the_sandwich_of_constrained_latents(two_supports):
    both = sandwich(two_supports.model, two_supports.guide, 40, replace(SHORT, num_temperatures=30), compile=False)
    assert -3 * both.gap.error < both.gap.value < 0.15


def test_the_sandwich_of_enumerated_latents_and_inner_plates(mixture):
    both = sandwich(mixture.model, mixture.guide, 60, replace(SHORT, num_temperatures=30), compile=False)
    assert -3 * both.gap.error < both.gap.value < 0.1


def test_the_progress_bars(ppca, capsys):
    how = Annealing(num_chains=3, num_temperatures=3, num_leapfrog=1)
    sandwich(ppca.model, ppca.guide(0.1), 5, how, num_samples=20, compile=False)
    assert not capsys.readouterr().err
    sandwich(ppca.model, ppca.guide(0.1), 5, how, num_samples=20, compile=False, progress=True)
    shown = capsys.readouterr().err
    assert all(word in shown for word in ("7/7", "temperature", "1/1", "chunk"))


# --------------------------------------------------------------------------------------------------- errors


def test_a_model_that_does_not_generate(ppca, says):
    with says(PairError, "sandwich", "size", "def model(x=None, *, size=None)"):
        sandwich(lambda x: ppca.model(x), ppca.guide())
    with says(SettingError, "num_simulations", "at least 2, got 1", "num_simulations=100"):
        sandwich(ppca.model, ppca.guide(), 1)


def test_too_little_to_condition_on(says):
    model = ConditionalVAE(priors.StandardNormal(2), likelihoods.Bernoulli(6), JointMLP([2, 3], 6, (5,)))
    guide = ConditionalGuide(NormalGuide(JointMLP([6, 3], 4, (5,))))
    with says(ShapeError, "10 rows", "'y'", "4"):
        sandwich(model, guide, 10, given={"y": torch.zeros(4, dtype=torch.long)})


def test_a_model_that_observes_another_thing_than_it_was_given(ppca, says):
    def model(x=None, *, size=None):
        return ppca.model(None if x is None else x + 1, size=size)

    with says(PairError, "'x'", "obs=x"):
        sandwich(model, ppca.guide(), 5)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.5, 2.0, "below log p(x) by 0.50 ± 0.10 to 2.00 ± 0.20"),
        (-10.7, 3.2, "above the lower bound by 10.70 ± 0.10, below the upper one by 3.20 ± 0.20"),
        (-3.0, -1.0, "above log p(x) by 3.00 ± 0.10 to 1.00 ± 0.20"),
    ],
)
def test_no_amount_is_negative(low, high, words):
    assert _below(Estimate(low, 0.1), Estimate(high, 0.2)) == words


def test_real_data_lie_between_the_bounds_of_a_long_chain(ppca):
    """The posterior is normal, so that the chain reaches it: the exact evidence is within both errors."""
    data = ppca.data(40)
    how = Annealing(num_chains=8, num_temperatures=20, num_leapfrog=5)
    options = {"num_warmup": 30, "num_samples": 50, "compile": False}
    bounds = sandwich(ppca.model, ppca.guide(0.3, 1.3), annealing=how, data=data, transform=dict, **options)
    exact = ppca.evidence.log_prob(data["x"])
    assert bounds.real
    assert bounds.lower.log_evidence.value < exact.mean().item() + 3 * bounds.lower.log_evidence.error
    assert bounds.upper.log_evidence.value > exact.mean().item() - 3 * bounds.upper.log_evidence.error
    assert -3 * bounds.gap.error < bounds.gap.value < 0.1
    assert "40 real data points" in str(bounds)


def test_too_few_temperatures_show_as_a_wide_gap(ppca):
    """Of real data too; the lower bound holds, and so does the upper one, because the long chain reaches p(z | x)."""
    data = ppca.data(40)
    options = {"num_warmup": 30, "num_samples": 50, "compile": False}
    few = Annealing(num_chains=4, num_temperatures=2, num_leapfrog=5)
    bounds = sandwich(ppca.model, ppca.guide(3.0, 0.8), annealing=few, data=data, transform=dict, **options)
    exact = ppca.evidence.log_prob(data["x"]).mean().item()
    assert bounds.gap.value > 1
    assert bounds.lower.log_evidence.value < exact < bounds.upper.log_evidence.value


def test_a_mode_that_no_chain_finds_is_missing_from_both_bounds(two_modes):
    """Half of p(x): the gap is small, and the upper estimate is no bound. Simulated data, of both modes, show it."""
    data = {"x": torch.linspace(2, 4, 30).double()}
    exact = two_modes.log_evidence(data).mean().item()
    how = Annealing(num_chains=8, num_temperatures=20, num_leapfrog=5)
    options = {"annealing": how, "num_samples": 50, "compile": False}
    real = sandwich(two_modes.model, two_modes.guide, data=data, transform=dict, num_warmup=30, **options)
    assert real.gap.value < 0.05
    for side in (real.lower, real.upper):
        assert exact - side.log_evidence.value == pytest.approx(math.log(2), abs=0.05)
    simulated = sandwich(two_modes.model, two_modes.guide, 100, **options)
    assert simulated.gap.value > 1
    prior = replace(how, start="prior", num_chains=32)
    whole = sandwich(
        two_modes.model, two_modes.guide, data=data, transform=dict, num_warmup=30, **options | {"annealing": prior}
    )
    assert whole.lower.log_evidence.value == pytest.approx(exact, abs=0.3)


def test_what_real_data_require(ppca, says):
    data = ppca.data(2)
    with says(SettingError, "data or given", "both"):
        sandwich(ppca.model, ppca.guide(), data=data, given=data)
    with says(SettingError, "num_temperatures >= 2"):
        sandwich(ppca.model, ppca.guide(), data=data, annealing=Annealing(num_temperatures=1))
    with says(SettingError, "num_warmup"):
        sandwich(ppca.model, ppca.guide(), data=data, num_warmup=0)
