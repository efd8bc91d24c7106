"""The inference gap and its parts, where they are exact."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import kl_divergence

from pyrovae.errors import SettingError
from pyrovae.guides import NormalGuide
from pyrovae.inference.diagnostics import gaps
from pyrovae.models import VAE, Program, likelihoods, priors
from pyrovae.networks.dense import MLP


def test_the_exact_guide_has_no_gap(ppca):
    found = gaps(ppca.model, ppca.guide(), ppca.data(10), num_steps=200, num_samples=200)
    for name in ("inference", "approximation", "amortisation"):
        assert getattr(found, name).value == pytest.approx(0, abs=0.03)
    assert "the parameters of 'z' (MultivariateNormal)" in found.family


@pytest.mark.parametrize(("shift", "stretch"), [(0.3, 1.0), (0.0, 0.5)])
def test_a_wrong_network_of_the_right_family_has_an_amortisation_gap(ppca, shift, stretch):
    """It is KL(q || p(z | x)), and the approximation gap is 0."""
    data = ppca.data(10)
    found = gaps(ppca.model, ppca.guide(shift, stretch), data, num_steps=200)
    q = dist.MultivariateNormal(torch.full((2,), shift).double(), ppca.covariance * stretch**2)
    exact = kl_divergence(q, dist.MultivariateNormal(torch.zeros(2).double(), ppca.covariance)).item()
    assert found.amortisation.value == pytest.approx(exact, abs=4 * found.amortisation.error + 0.03)
    assert found.approximation.value == pytest.approx(0, abs=0.03)
    evidence = ppca.evidence.log_prob(data["x"])
    assert found.log_evidence.value == pytest.approx(evidence.mean().item(), abs=4 * found.log_evidence.error + 1e-3)
    assert found.per_datum["inference"].shape == (10,)
    assert str(found).splitlines()[0].startswith("log_evidence")


def correlated():
    """A posterior with correlation, and a diagonal guide at its optimum: scales 1 / sqrt(precision_dd)."""

    class Model(Program):
        def forward(self, x=None, *, size=None):
            with pyro.plate("data", len(x) if size is None else size, dim=-1):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                return pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), 0.5).to_event(1), obs=x)

    precision = torch.eye(2) + 4 * torch.ones(2, 2)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x * 4 / 9, precision.diagonal().rsqrt()).to_event(1))

    gap = (precision.diagonal().log().sum() - precision.logdet()).item() / 2
    return Model(), guide, gap


def test_a_diagonal_guide_of_a_correlated_posterior_has_an_approximation_gap():
    model, guide, exact = correlated()
    found = gaps(model, guide, {"x": torch.randn(20, 1)}, num_steps=200, num_samples=4000)
    assert found.approximation.value == pytest.approx(exact, abs=4 * found.approximation.error + 0.02)
    assert found.amortisation.value == pytest.approx(0, abs=0.03)
    assert exact > 0.3
    assert abs(found.rise) < 0.05


def test_gaps_of_a_network_leave_it_alone_and_compile(captured_only):
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(4, scale=0.5), MLP(2, 4, (5,)))
    guide = NormalGuide(MLP(4, 4, (5,))).train()
    data = {"x": torch.randn(6, 4)}
    eager, compiled = (gaps(model, guide, data, num_steps=20, num_samples=100, compile=c) for c in (False, True))
    torch.testing.assert_close(eager.per_datum["refined"], compiled.per_datum["refined"], rtol=1e-3, atol=1e-3)
    assert eager.amortisation.value > 0
    assert guide.training
    assert not list(pyro.get_param_store())


def test_gaps_requires_steps(ppca, says):
    with says(SettingError, "num_steps", "at least 10, got 9"):
        gaps(ppca.model, ppca.guide(), ppca.data(2), num_steps=9)


def test_progress_over_the_steps(ppca, shows_bar):
    run = partial(gaps, ppca.model, ppca.guide(), ppca.data(2), num_steps=10, num_samples=5)
    quiet, shown = run(), run(progress=True)
    assert shows_bar("step")
    assert quiet.inference == shown.inference
