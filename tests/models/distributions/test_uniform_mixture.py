"""A mixture of normals of equal weights: its density, its stratified draws, and the gradient of a draw."""

import pyro.distributions as dist
import pytest
import torch

from pyrovae.models.distributions import UniformMixture

LOC = torch.tensor([[-1.0, 0.5], [2.0, 0.0], [0.3, -1.5]]).double()
SCALE = torch.tensor([[0.5, 1.0], [0.8, 0.4], [0.6, 0.7]]).double()
AVAILABLE = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])


@pytest.fixture
def mixture():
    """Three data points, which have three components, two, and one."""
    return UniformMixture(LOC.expand(3, 3, 2), SCALE.expand(3, 3, 2), AVAILABLE)


def integral(mixture, function):
    """The integral of a function of z times the density, `(3,)`, on a grid of the plane."""
    line = torch.linspace(-8, 8, 161, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line).unsqueeze(1)
    return (mixture.log_prob(grid).exp() * function(grid)).sum(0) * (line[1] - line[0]) ** 2


def test_the_density_integrates_to_one(mixture):
    torch.testing.assert_close(integral(mixture, lambda z: 1.0), torch.ones(3).double(), rtol=0, atol=1e-9)


def test_the_density_is_the_mean_over_the_available_components(mixture):
    z = torch.randn(5, 3, 2).double()
    each = dist.Normal(LOC, SCALE).to_event(1).log_prob(z.unsqueeze(-2)).exp()
    wanted = torch.stack([each[:, i, has].mean(-1) for i, has in enumerate(AVAILABLE)], -1).log()
    torch.testing.assert_close(mixture.log_prob(z), wanted)


def test_its_moments_are_those_of_the_density(mixture):
    for d in range(2):
        mean = integral(mixture, lambda z, d=d: z[..., d])
        square = integral(mixture, lambda z, d=d: z[..., d].square())
        torch.testing.assert_close(mixture.mean[:, d], mean, rtol=0, atol=1e-8)
        torch.testing.assert_close(mixture.variance[:, d], square - mean.square(), rtol=0, atol=1e-8)


def test_draws_take_the_available_components_in_turn():
    """The components are far apart and narrow, so a draw shows which it is of."""
    loc = torch.tensor([[0.0], [100.0], [200.0]]).expand(3, 3, 1)
    far = UniformMixture(loc, torch.full_like(loc, 0.01), AVAILABLE)
    component = (far.rsample((12,)) / 100).round().squeeze(-1)
    counts = torch.stack([(component == k).sum(0) for k in range(3)], -1)
    assert counts.tolist() == [[4, 4, 4], [6, 0, 6], [0, 12, 0]]
    uneven = (far.rsample((4,)) / 100).round().squeeze(-1)
    assert sorted((uneven[:, 0] == k).sum().item() for k in range(3)) == [1, 1, 2]


def test_a_single_draw_has_the_moments_of_the_mixture():
    """A draw of each of many data points: the first component is random, and each is as frequent."""
    size = 200_000
    many = UniformMixture(LOC.expand(size, 3, 2), SCALE.expand(size, 3, 2), AVAILABLE[1].expand(size, 3))
    z = many.rsample()
    error = (many.variance[0] / size).sqrt()
    assert ((z.mean(0) - many.mean[0]).abs() < 4 * error).all()
    torch.testing.assert_close(z.var(0), many.variance[0], rtol=0.02, atol=0)


def test_the_gradient_of_a_draw_is_that_of_the_integral(mixture):
    """d/d(loc, scale) E z^4, with E z^4 = mean over components of loc^4 + 6 loc^2 scale^2 + 3 scale^4."""
    loc, scale = LOC.clone().requires_grad_(), SCALE.clone().requires_grad_()
    size = 100_000
    parts = loc.expand(size, 3, 2), scale.expand(size, 3, 2), AVAILABLE[1].expand(size, 3)
    drawn = torch.autograd.grad(UniformMixture(*parts).rsample().pow(4).sum(-1).mean(), [loc, scale])
    fourth = loc.pow(4) + 6 * loc.square() * scale.square() + 3 * scale.pow(4)
    exact = torch.autograd.grad(fourth[AVAILABLE[1]].sum(-1).mean(), [loc, scale])
    for ours, theirs in zip(drawn, exact, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.08, atol=0.03)
        assert (ours[1] == 0).all()  # a component that is not available has no gradient


def test_the_density_has_no_gradient_of_nan(mixture):
    loc = LOC.expand(3, 3, 2).clone().requires_grad_()
    UniformMixture(loc, SCALE.expand(3, 3, 2), AVAILABLE).log_prob(torch.zeros(3, 2).double()).sum().backward()
    assert loc.grad.isfinite().all()
    assert (loc.grad[2, 0] == 0).all()


def test_expand_keeps_the_density(mixture):
    z = torch.randn(4, 3, 2).double()
    wide = mixture.expand((4, 3))
    assert wide.rsample().shape == (4, 3, 2)
    torch.testing.assert_close(wide.log_prob(z), mixture.log_prob(z))
