"""Rate and distortion where both are exact, and transform coding against the theory of fine quantisation."""

import math

import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import DataError, PairError, SettingError, ShapeError
from pyrovae.inference.tasks.compression import QuantisedPCA, RateDistortion, rate_distortion


def reverse_water_filling(variances, mse):
    """R(D) of a normal source in bits per dimension. Cover & Thomas (2006), theorem 10.3.3."""
    low, high = 0.0, variances.max().item()
    for _ in range(60):
        level = (low + high) / 2
        low, high = (level, high) if variances.clamp(max=level).mean() < mse else (low, level)
    return 0.5 * (variances / low).clamp_min(1).log2().mean().item()


def test_rate_and_distortion_of_an_exact_posterior(ppca):
    data = ppca.data(500)
    found = rate_distortion(ppca.model, ppca.guide(), data, num_samples=200)
    mean = ppca.posterior_mean(data["x"])
    q = dist.MultivariateNormal(mean, ppca.covariance)
    rate = torch.distributions.kl_divergence(
        q, dist.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    ).mean()
    assert found.rate == pytest.approx(rate.item() / (5 * math.log(2)), rel=0.02)
    residual = (data["x"] - ppca.decode(mean)).square().mean()
    mse = residual + (ppca.weight @ ppca.covariance @ ppca.weight.T).trace() / 5
    assert found.mse == pytest.approx(mse.item(), rel=0.02)


def test_no_code_is_below_the_rate_distortion_function(ppca):
    """The rate is at least the mutual information of data and latents, that at least R(D)."""
    variances = torch.linalg.eigvalsh(ppca.evidence.covariance_matrix)
    for stretch in (0.3, 1.0, 2.0):
        found = rate_distortion(ppca.model, ppca.guide(stretch=stretch), ppca.data(2000), num_samples=50)
        assert found.rate > reverse_water_filling(variances, found.mse)


def test_any_pair_has_a_point(representative):
    pair = representative
    found = rate_distortion(pair.model, pair.guide, pair.batch, num_samples=2)
    assert found.mse >= 0
    assert not math.isnan(found.mse)


def test_fine_quantisation_is_what_theory_says(ppca):
    """At a small step D = step^2 / 12, and R = h(c) - log2(step) for each component, a normal one here."""
    train, test = ppca.data(200_000)["x"], ppca.data(20_000)["x"]
    variances = torch.linalg.eigvalsh(ppca.evidence.covariance_matrix)
    pca = QuantisedPCA(train)
    (fine, decoded), (coarse, _) = pca.code(test, 0.1), pca.code(test, 0.2)
    assert fine.mse == pytest.approx((decoded - test).square().mean().item())
    assert fine.mse == pytest.approx(0.1**2 / 12, rel=0.02)
    entropy = 0.5 * (2 * math.pi * math.e * variances).log2().mean().item()
    assert fine.rate == pytest.approx(entropy - math.log2(0.1), rel=0.01)
    assert fine.rate - coarse.rate == pytest.approx(1.0, rel=0.01)
    assert fine.rate > reverse_water_filling(variances, fine.mse)


def test_what_does_not_vary_costs_nothing():
    train = torch.cat([torch.randn(4000, 1), torch.full((4000, 3), 7.0)], 1)
    one, _ = QuantisedPCA(train[:, :1]).code(train[:, :1], 0.5)
    pca = QuantisedPCA(train)
    assert pca.code(train, 0.5)[0].rate == pytest.approx(one.rate / 4)
    nothing, decoded = pca.code(train, 1e6)
    assert nothing.rate == 0
    assert torch.allclose(decoded, train.mean(0).expand(4000, 4), atol=1e-5)


def test_images_are_coded_as_images():
    x = torch.rand(50, 1, 3, 4)
    found, decoded = QuantisedPCA(x).code(x[:9], 0.01)
    assert decoded.shape == (9, 1, 3, 4)
    assert (decoded - x[:9]).abs().max() < 0.03
    assert found.rate > 4  # some 100 levels


def test_decibels():
    assert RateDistortion(1.0, 0.01).psnr() == pytest.approx(20)
    assert RateDistortion(1.0, 0.01).psnr(peak=10.0) == pytest.approx(40)
    assert RateDistortion(1.0, 0.0).psnr() == math.inf


def test_the_table():
    assert str(RateDistortion(0.25, 0.01)) == "rate  0.2500 bits per dimension\nmse   0.01 per dimension"


def test_the_bar_is_shown_and_changes_nothing(ppca, capsys):
    data = ppca.data(30)
    quiet = rate_distortion(ppca.model, ppca.guide(), data)
    assert "data point" not in capsys.readouterr().err
    assert rate_distortion(ppca.model, ppca.guide(), data, progress=True) == quiet
    assert "30/30" in capsys.readouterr().err


def test_errors(ppca, says):
    pca = QuantisedPCA(torch.randn(4, 3))
    with says(ShapeError, "3 numbers", "(4, 2)"):
        pca.code(torch.zeros(4, 2), 1.0)
    with says(ShapeError, "(0, 3)"):
        pca.code(torch.zeros(0, 3), 1.0)
    with says(ShapeError, "(0, 3)"):
        QuantisedPCA(torch.zeros(0, 3))
    for step in (0.0, -1.0, float("nan")):
        with says(SettingError, "step requires a finite number above 0"):
            pca.code(torch.zeros(4, 3), step)
    with says(DataError, "named 'x'", "'w'"):
        rate_distortion(ppca.model, ppca.guide(), {"w": torch.zeros(2, 5)})
    with says(PairError, "empty"):
        rate_distortion(ppca.model, ppca.guide(), {"x": torch.zeros(0, 5)})
