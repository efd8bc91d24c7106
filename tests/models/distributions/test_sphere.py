"""Distributions on the unit sphere, against quadrature, closed forms and draws."""

import math

import pytest
import torch
from torch.distributions import kl_divergence
from torch.nn.functional import normalize

from pyrovae.errors import ShapeError
from pyrovae.models.distributions import PowerSpherical, SphericalUniform, VonMisesFisher
from pyrovae.models.distributions.sphere import log_area

FAMILIES = [VonMisesFisher, PowerSpherical]
DIMS, CONCENTRATIONS = [2, 3, 5, 11, 50], [1e-3, 1.0, 40.0, 1e3, 1e5]


def build(family, dim, concentration, dtype=torch.float64):
    return family(normalize(torch.randn(dim, dtype=dtype), dim=-1), torch.tensor(concentration, dtype=dtype))


def along(q, points=20000):
    """Points of a half circle from the mean direction on, and the logarithm of the weight of each in an integral."""
    dim, k = q.event_shape[0], q.concentration.item()
    # The angle is quadratic in u, so that the points are dense where a large concentration has its mass.
    u = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    far = min(math.pi, 20 * math.sqrt(dim / k))
    angle, step = far * u**2, 2 * far * u / points
    across = normalize(torch.randn(dim).double() @ (torch.eye(dim).double() - torch.outer(q.loc, q.loc)), dim=-1)
    z = angle.cos()[:, None] * q.loc + angle.sin()[:, None] * across
    area = math.log(2) if dim == 2 else log_area(dim - 1)
    return z, area + (dim - 2) * angle.sin().clamp_min(1e-300).log() + step.log()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("concentration", CONCENTRATIONS)
def test_density_divergence_and_moment_by_quadrature(family, dim, concentration):
    q = build(family, dim, concentration)
    z, log_weight = along(q)
    log_prob = q.log_prob(z)
    p = (log_prob + log_weight).exp()
    torch.testing.assert_close(p.sum().item(), 1.0, rtol=1e-6, atol=0)
    rate = (p * (log_prob + log_area(dim))).sum()
    torch.testing.assert_close(kl_divergence(q, SphericalUniform(dim)), rate, rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(q.entropy(), -(p * log_prob).sum(), rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(q.mean_resultant_length, (p * (z @ q.loc)).sum(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dim", [2, 3, 4, 5, 11, 25, 50])
@pytest.mark.parametrize("concentration", [1e-3, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5])
def test_the_normaliser_is_that_of_bessel(dim, concentration):
    special = pytest.importorskip("scipy.special")
    q, order = build(VonMisesFisher, dim, concentration), dim / 2 - 1
    bessel = math.log(special.ive(order, concentration)) + concentration
    wanted = order * math.log(concentration) - dim / 2 * math.log(2 * math.pi) - bessel + concentration
    assert abs(q.log_prob(q.loc).item() - wanted) < 1e-9
    ratio = special.ive(dim / 2, concentration) / special.ive(order, concentration)
    assert abs(q.mean_resultant_length.item() / ratio - 1) < 1e-9


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("concentration", CONCENTRATIONS)
def test_moments_of_draws(family, dim, concentration):
    q, count = build(family, dim, concentration), 4000
    z = q.rsample((count,))
    assert q.support.check(z).all()
    gap = 1 - z @ q.loc
    assert abs(gap.mean() - (1 - q.mean_resultant_length)) < 5 * gap.std() / count**0.5
    rate = q.log_prob(z) + log_area(dim)
    assert abs(rate.mean() - q.divergence()) < 5 * rate.std() / count**0.5 + 1e-9
    # Across the mean direction, draws have mean 0 and the same variance in every direction.
    across = z - (z @ q.loc)[:, None] * q.loc
    assert across.mean(0).norm() < 5 * (across.square().sum(-1).mean() / count).sqrt()


def test_draws_in_three_dimensions_have_the_exact_distribution_function():
    q, count = build(VonMisesFisher, 3, 2.0), 20000
    w = (q.rsample((count,)) @ q.loc).sort().values
    function = ((2 * w).exp() - math.exp(-2)) / (math.exp(2) - math.exp(-2))
    assert (function - torch.linspace(0, 1, count).double()).abs().max() < 1.63 / count**0.5  # Kolmogorov, 1 %


@pytest.mark.parametrize("concentration", [0.05, 2.0, 30.0])
def test_the_gradient_of_a_draw_is_the_implicit_one(concentration):
    """In three dimensions the distribution function F of w is elementary: dw/dk = -(dF/dk) / (dF/dw)."""
    k = torch.full((300,), concentration, dtype=torch.float64, requires_grad=True)
    loc = normalize(torch.randn(3).double(), dim=-1)
    w = VonMisesFisher(loc.expand(300, 3), k).rsample() @ loc
    (slope,) = torch.autograd.grad(w.sum(), k)
    at, fixed = w.detach().requires_grad_(), k.detach().requires_grad_()
    function = torch.expm1(fixed * (at + 1)) / torch.expm1(2 * fixed)
    by_w, by_k = torch.autograd.grad(function.sum(), (at, fixed))
    torch.testing.assert_close(slope, -by_k / by_w, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dim", [2, 5, 11])
@pytest.mark.parametrize("concentration", [0.5, 30.0])
def test_the_gradient_of_a_draw_by_finite_differences_of_the_distribution_function(dim, concentration):
    k = torch.full((5,), concentration, dtype=torch.float64, requires_grad=True)
    loc = normalize(torch.randn(dim).double(), dim=-1)
    w = VonMisesFisher(loc.expand(5, dim), k).rsample() @ loc
    (slope,) = torch.autograd.grad(w.sum(), k)

    def function(upper, concentration):
        """F(w), by the midpoint rule in the angle."""
        angle = upper.acos() + (math.pi - upper.acos()) * (torch.arange(20000).double() + 0.5) / 20000
        q = VonMisesFisher(torch.eye(dim).double()[0], torch.tensor(concentration, dtype=torch.float64))
        area = math.log(2) if dim == 2 else log_area(dim - 1)
        density = (q.log_relative(angle.cos()) + area - log_area(dim)).exp() * angle.sin() ** (dim - 2)
        return density.mean() * (math.pi - upper.acos())

    for one, rate in zip(w.detach(), slope, strict=True):
        by_k = (function(one, concentration + 1e-3) - function(one, concentration - 1e-3)) / 2e-3
        by_w = (function(one + 1e-5, concentration) - function(one - 1e-5, concentration)) / 2e-5
        torch.testing.assert_close(rate, -by_k / by_w, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("concentration", [1e-3, 3.0, 1e4])
def test_gradients_of_density_and_divergence_by_finite_differences(family, concentration):
    loc, z = normalize(torch.randn(2, 4).double(), dim=-1)
    z = normalize(loc + z / concentration**0.5, dim=-1)
    args = [part.requires_grad_() for part in (loc, torch.tensor(concentration).double().log(), z)]

    def score(loc, log_k, z):
        q = family(normalize(loc, dim=-1), log_k.exp(), validate_args=False)
        return q.log_prob(normalize(z, dim=-1)), q.divergence()

    assert torch.autograd.gradcheck(score, args, eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dim", DIMS)
def test_mean_gradients_of_draws_are_those_of_the_mean(family, dim):
    """E[dw/dk] = dE[w]/dk; a rejection whose correction is left out has another mean."""
    count = 5000
    k = torch.full((count,), 3.0 * dim, dtype=torch.float64, requires_grad=True)
    loc = normalize(torch.randn(dim).double(), dim=-1)
    q = family(loc.expand(count, dim), k)
    (slopes,) = torch.autograd.grad((q.rsample() @ loc).sum(), k)
    (wanted,) = torch.autograd.grad(q.mean_resultant_length[0], k)
    assert abs(slopes.mean() - wanted[0]) < 5 * slopes.std() / count**0.5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("concentration", CONCENTRATIONS)
@pytest.mark.parametrize("dim", [2, 11, 50])
def test_single_precision_is_double_precision_rounded(family, concentration, dim):
    q = build(family, dim, concentration, torch.float32)
    exact = family(normalize(q.loc.double(), dim=-1), q.concentration.double())
    z = q.rsample((500,))
    assert z.dtype == torch.float32
    assert q.support.check(z).all()
    wanted = exact.log_prob(normalize(z.double(), dim=-1)).float()
    torch.testing.assert_close(q.log_prob(z), wanted, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(kl_divergence(q, SphericalUniform(dim)), exact.divergence().float())
    parameters = [q.loc.clone().requires_grad_(), q.concentration.clone().requires_grad_()]
    again = family(*parameters, validate_args=False)
    draw = again.rsample()
    (again.log_prob(draw) + draw.sum() + again.entropy()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in parameters)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_limit_of_concentration_0_is_uniform(family):
    q = build(family, 7, 1e-9)
    torch.testing.assert_close(q.log_prob(q.rsample((50,))), SphericalUniform(7).log_prob(q.rsample((50,))))
    assert 0 <= q.divergence() + 1e-12 < 1e-9


def test_the_antipode_is_scored():
    q = build(PowerSpherical, 3, 5.0)
    assert q.log_prob(-q.loc) < -1000
    assert q.log_prob(-q.loc).isfinite()


@pytest.mark.parametrize("dim", [2, 3, 20])
def test_the_uniform_distribution(dim):
    p = SphericalUniform(dim, dtype=torch.float64)
    z = p.sample((5000,))
    assert p.support.check(z).all()
    assert z.mean(0).abs().max() < 5 / (5000 * dim) ** 0.5
    torch.testing.assert_close(z.T @ z / 5000, torch.eye(dim).double() / dim, rtol=0, atol=0.05)
    areas = {2: 2 * math.pi, 3: 4 * math.pi}
    if dim in areas:
        torch.testing.assert_close(p.log_prob(z[0]).exp().item(), 1 / areas[dim])
    assert p.entropy() == -p.log_prob(z[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes(family):
    q = family(normalize(torch.randn(4, 1, 3), dim=-1), torch.rand(5) + 1)
    assert (q.batch_shape, q.event_shape) == ((4, 5), (3,))
    z = q.expand((2, 4, 5)).rsample((6,))
    assert z.shape == (6, 2, 4, 5, 3)
    assert q.log_prob(z).shape == (6, 2, 4, 5)
    assert q.entropy().shape == q.mean_resultant_length.shape == (4, 5)
    assert kl_divergence(q, SphericalUniform(3, (4, 5))).shape == (4, 5)
    assert q.mean.shape == q.mode.shape == (4, 5, 3)
    assert SphericalUniform(3).expand((2, 4)).sample((6,)).shape == (6, 2, 4, 3)


def test_errors(says):
    with says(ShapeError, "dim >= 2", "got 1"):
        SphericalUniform(1)
    with says(ShapeError, "VonMisesFisher", "D >= 2", "(1,)"):
        VonMisesFisher(torch.ones(1), torch.tensor(1.0))
    with pytest.raises(ValueError, match="loc"):
        VonMisesFisher(torch.ones(3), torch.tensor(1.0), validate_args=True)
    with pytest.raises(ValueError, match="support"):
        build(PowerSpherical, 3, 1.0).log_prob(torch.ones(3).double())
