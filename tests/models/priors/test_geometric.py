"""The geometric prior of a number, and the normal prior whose mean and scale are known."""

import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import SettingError, ShapeError
from pyrovae.models import priors


@pytest.mark.parametrize("learned", [True, False])
def test_the_number_is_geometric_and_cut(learned):
    prior = priors.Geometric(3, 0.2, learned=learned)
    torch.testing.assert_close(prior().log_probs.exp(), torch.tensor([0.8, 0.16, 0.032, 0.008]))
    assert len(list(prior.parameters())) == learned
    assert repr(prior) == f"Geometric(3, success=0.2, learned={learned})"
    assert list(prior.state_dict()) == ["logit"]


def test_the_chance_is_learned():
    """At the maximum of the likelihood of counts 0, 1 and 3, cut at 3, s is 4 steps of 6 tries."""
    prior = priors.Geometric(3, learned=True).double()
    counts = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 1]]).double()
    optimizer = torch.optim.LBFGS(prior.parameters(), line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = -prior().log_prob(counts).sum()
        value.backward()
        return value

    for _ in range(5):
        optimizer.step(loss)
    torch.testing.assert_close(prior.logit.sigmoid(), torch.tensor(4 / 6).double(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("settings", [{"steps": 0}, {"steps": 2, "success": 0.0}, {"steps": 2, "success": 1.0}])
def test_a_geometric_prior_of_other_settings(settings, says):
    with says(SettingError, next(reversed(settings))):
        priors.Geometric(**settings)


def test_the_normal_has_its_numbers():
    prior = priors.Normal([1.0, -2.0], [0.5, 3.0])
    z = torch.randn(5, 2)
    torch.testing.assert_close(
        prior().log_prob(z), dist.Normal(torch.tensor([1.0, -2]), torch.tensor([0.5, 3])).log_prob(z).sum(-1)
    )
    assert not list(prior.parameters())
    assert repr(prior) == "Normal([1.0, -2.0], [0.5, 3.0])"


def test_a_normal_of_other_settings(says):
    with says(SettingError, "scale", "above 0", "got 0"):
        priors.Normal([0.0], [0.0])
    with says(SettingError, "loc", "finite"):
        priors.Normal([float("nan")], [1.0])
    with says(ShapeError, "scale requires 2", "got 1"):
        priors.Normal([0.0, 1.0], [1.0])
