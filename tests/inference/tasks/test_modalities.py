"""Evidence of subsets, and one modality given others, against a linear model whose evidence is exact."""

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.data import Scale
from pyrovae.errors import PairError
from pyrovae.guides import ExpertsGuide
from pyrovae.inference import (
    Evaluation,
    diagnose,
    draw_modality,
    evaluate,
    gaps,
    posterior,
    predict_modality,
    subset_evidence,
    to_arviz,
)
from pyrovae.models import MultimodalVAE, likelihoods, priors
from pyrovae.recorded import Recorded
from pyrovae.report import write_report

GAIN = {"x": torch.tensor([1.5, -0.7]).double(), "w": torch.tensor([0.4, 2.0]).double()}
SCALE = {"x": 0.6, "w": 0.9}


class Gains(Recorded, nn.Module):
    """x_d = gain_d z_d: a decoder under which the posterior is a product over dimensions."""

    def __init__(self, gain):
        super().__init__()
        self.gain = nn.Parameter(gain)

    def forward(self, z):
        return self.gain * z


class ExactExpert(Recorded, nn.Module):
    """p(x_m | z) as a normal density of z, up to a constant: loc and raw scale for the guide."""

    def __init__(self, gain, scale):
        super().__init__()
        self.gain, self.scale = nn.Parameter(gain), scale

    def forward(self, x):
        scale = (self.scale / self.gain.abs()).expand_as(x)
        return torch.cat([x / self.gain, 7 * torch.atanh(scale.log() / 7)], -1)


@pytest.fixture
def linear():
    """z in R^2, x and w in R^2 each, and the guide of exact experts: their product with the prior is p(z | x_S)."""
    likelihood = {name: likelihoods.Normal(2, scale=scale) for name, scale in SCALE.items()}
    model = MultimodalVAE(priors.StandardNormal(2).double(), likelihood, {n: Gains(g) for n, g in GAIN.items()})
    return model.double(), ExpertsGuide({name: ExactExpert(GAIN[name], SCALE[name]) for name in GAIN}).double()


@pytest.fixture
def batch():
    z = torch.randn(5, 2).double()
    return {name: gain * z + SCALE[name] * torch.randn(5, 2).double() for name, gain in GAIN.items()}


def exact(batch, names):
    """log p(x_S) of each data point: x_S is normal, with covariance gain gain' + scale^2 I in each dimension."""
    total = torch.zeros(5).double()
    for d in range(2):
        gain = torch.stack([GAIN[name][d] for name in names])
        noise = torch.tensor([SCALE[name] ** 2 for name in names]).double()
        normal = dist.MultivariateNormal(torch.zeros(len(names)).double(), torch.outer(gain, gain) + noise.diag())
        total = total + normal.log_prob(torch.stack([batch[name][:, d] for name in names], -1))
    return total


def test_the_evidence_of_each_subset_is_exact(linear, batch):
    """Exact experts make every weight equal to the evidence, for any draw, so few draws are enough."""
    found = subset_evidence(*linear, batch, num_samples=3)
    assert list(found.evaluations) == [("x",), ("w",), ("x", "w")]
    for names, one in found.evaluations.items():
        torch.testing.assert_close(one.per_datum["log_evidence"], exact(batch, names))
        torch.testing.assert_close(one.per_datum["elbo"], exact(batch, names))
    given_x = found.conditional(["w"], ["x"])
    assert given_x.value == pytest.approx((exact(batch, ("x", "w")) - exact(batch, ("x",))).mean().item())
    assert "x + w" in str(found)


def test_conditional_evidence_has_the_bias_of_both(linear, batch):
    model, guide = linear
    mixture = ExpertsGuide(dict(guide.encoders.items()), "mixture")
    found = subset_evidence(model, mixture, batch, subsets=[["x"], ["x", "w"]], num_samples=200)
    joint, alone = (found.evaluations[names].log_evidence for names in (("x", "w"), ("x",)))
    given_x = found.conditional(["w"], ["x"])
    assert given_x.bias.value == joint.bias.value - alone.bias.value != 0
    assert given_x.flagged is (joint.flagged or alone.flagged)


def test_flags_give_each_data_point_its_own_evidence(linear, batch):
    has_w = torch.tensor([True, False, True, False, False])
    data = {**batch, "w": torch.where(has_w[:, None], batch["w"], torch.nan), "has_w": has_w}
    found = evaluate(*linear, data, num_samples=3).per_datum["log_evidence"]
    wanted = torch.where(has_w, exact(batch, ("x", "w")), exact(batch, ("x",)))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("combine", ["mixture", "mixture-of-products"])
def test_mixtures_estimate_the_same_evidence(linear, batch, combine):
    """Another guide of the same model: importance sampling corrects for it, within its error."""
    model, guide = linear
    mixture = ExpertsGuide(dict(guide.encoders.items()), combine)
    for names in (("x",), ("x", "w")):
        found = evaluate(model, mixture, {name: batch[name] for name in names}, num_samples=20_000).per_datum
        error = (found["log_evidence"] - exact(batch, names)).abs()
        assert (error < 5 * found["log_evidence_error"] + 1e-3).all()
        assert (found["elbo"] < exact(batch, names)).all()


def test_one_modality_given_another(linear, batch):
    """E[w | x] = gain_w E[z | x], and the draws have that mean and the variance of w given x."""
    data = {"x": batch["x"]}
    precision = 1 + GAIN["x"].square() / SCALE["x"] ** 2
    mean = GAIN["w"] * (GAIN["x"] * batch["x"] / SCALE["x"] ** 2) / precision
    variance = GAIN["w"].square() / precision + SCALE["w"] ** 2
    found = predict_modality(*linear, data, "w", num_samples=4000)
    assert ((found - mean).abs() < 5 * (GAIN["w"].square() / precision / 4000).sqrt()).all()
    again = predict_modality(*linear, data, "w", num_samples=60, memory=2_000)  # draws in many portions
    assert ((again - mean).abs() < 5 * (GAIN["w"].square() / precision / 60).sqrt()).all()
    drawn = draw_modality(*linear, data, "w", 2000)
    assert drawn.shape == (2000, 5, 2)
    assert ((drawn.mean(0) - mean).abs() < 6 * (variance / 2000).sqrt()).all()
    torch.testing.assert_close(drawn.var(0), variance.expand(5, 2), rtol=0.2, atol=0)
    means = draw_modality(*linear, data, "w", 2000, mean=True, corrected=False)
    torch.testing.assert_close(means.var(0), (GAIN["w"].square() / precision).expand(5, 2), rtol=0.2, atol=0)


def test_one_draw_is_enough_for_a_shape(linear, batch):
    assert predict_modality(*linear, {"x": batch["x"]}, "w", num_samples=1).shape == (5, 2)


def test_labels_given_an_image():
    """p(y | x) by importance sampling against quadrature, where the guide is the prior."""

    class Logits(Recorded, nn.Module):
        def forward(self, z):
            return torch.cat([z, -z, 0.5 * z + 1], -1)

    class Wide(Recorded, nn.Module):
        def forward(self, x):
            return torch.cat([torch.zeros_like(x), torch.full_like(x, 20.0)], -1)

    parts = {"x": likelihoods.Normal(1, scale=0.7), "y": likelihoods.Label(3)}
    model = MultimodalVAE(priors.StandardNormal(1), parts, {"x": nn.Identity(), "y": Logits()})
    guide = ExpertsGuide({"x": Wide()})
    x = torch.tensor([[-1.0], [0.3], [2.0]])
    z = torch.linspace(-8, 8, 4001).unsqueeze(-1)
    weight = (-(z.square() / 2) - (x - z.T).square().unsqueeze(-1) / (2 * 0.49)).exp()  # (B, G, 1)
    wanted = (weight * Logits()(z).softmax(-1)).sum(1) / weight.sum(1)
    found = predict_modality(model, guide, {"x": x}, "y", num_samples=50_000)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.01)
    torch.testing.assert_close(found.sum(-1), torch.ones(3), rtol=0, atol=1e-4)


def test_chosen_subsets_and_a_transform(linear, batch):
    found = subset_evidence(*linear, batch, subsets=[["w"], ["w", "x"]], num_samples=2, transform=Scale())
    assert list(found.evaluations) == [("w",), ("x", "w")]
    assert all(isinstance(one, Evaluation) for one in found.evaluations.values())


def test_errors(linear, batch, says):
    with says(PairError, "subsets of x, w", "('v',)"):
        subset_evidence(*linear, batch, subsets=[["v"]])
    with says(PairError, "No evidence of w + x: the subsets are w"):
        subset_evidence(*linear, batch, subsets=[["w"]], num_samples=2).conditional(["w"], ["x"])
    for tool in (predict_modality, draw_modality):
        with says(PairError, tool.__name__, "data without 'w'", "'x', 'w'"):
            tool(*linear, batch, "w")
        with says(PairError, "no site 'v'"):
            tool(*linear, {"x": batch["x"]}, "v")


@pytest.mark.parametrize("combine", ["product", "mixture"])
def test_the_tools_of_every_pair_take_it(linear, batch, combine, tmp_path):
    """Draws, diagnosis, gaps and report, where the data points have different modalities."""
    model, exact = linear
    guide = ExpertsGuide(dict(exact.encoders.items()), combine)
    data = {**batch, "has_w": torch.tensor([True, False, True, False, True])}
    draws = posterior(model, guide, data, 50)
    assert draws.latents["z"].shape == (50, 5, 2)
    assert to_arviz(draws).posterior["z"].shape == (1, 50, 5, 2)
    assert "k-hat" in str(diagnose(model, guide, data, num_samples=100))
    found = gaps(model, guide, data, num_steps=20, num_samples=50, compile=False)
    assert found.refined.value > found.elbo.value - 0.05
    assert write_report(model, guide, data, run=tmp_path).is_file()
