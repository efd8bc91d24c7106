"""The contract of a proper prior on the plane, as a check that each prior's test calls."""

import pytest
import torch


@pytest.fixture
def is_a_density():
    """Check a prior of two dimensions, in float64: its density integrates to one, draws follow it, plates expand it."""

    def check(prior):
        with torch.no_grad():
            integrates_to_one_and_draws_follow_it(prior())
        expands_under_plates(prior)

    return check


def integrates_to_one_and_draws_follow_it(p):
    assert (p.batch_shape, p.event_shape) == ((), (2,))
    line = torch.linspace(-12, 12, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    mass = p.log_prob(grid).exp() * (line[1] - line[0]) ** 2
    assert mass.sum().item() == pytest.approx(1, abs=1e-3)
    z = p.sample((40_000,))
    mean = (mass[:, None] * grid).sum(0)
    torch.testing.assert_close(z.mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(z.T.cov(), (grid - mean).T @ (mass[:, None] * (grid - mean)), atol=0.1, rtol=0.05)


def expands_under_plates(prior):
    p = prior().expand((3, 4))
    z = p.sample()
    assert z.shape == (3, 4, 2)
    assert p.log_prob(z).shape == (3, 4)
    torch.testing.assert_close(p.log_prob(z), prior().log_prob(z))
