"""Ranks of joint quantities: uniform for the posterior; they see what the ranks of dimensions do not."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from built_pairs import PAIRS

from pyrovae.errors import ShapeError
from pyrovae.inference.diagnostics import JointRanks, calibration
from pyrovae.inference.diagnostics.joint import DISTANCE, LOG_P, LOG_Q
from pyrovae.inference.diagnostics.ranks import ranks_among, smooth_p_value
from pyrovae.inference.diagnostics.references import distances, flattened, references


def marginals_of(ppca):
    """The guide that has the exact mean and the exact scale of each dimension, and no correlation."""

    def guide(x):
        scale = ppca.covariance.diagonal().sqrt()
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(ppca.posterior_mean(x), scale).to_event(1))

    return guide


def prior_of(ppca):
    """The guide that ignores x."""

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(len(x), 2).double(), 1.0).to_event(1))

    return guide


@pytest.fixture
def oblique(ppca):
    """A linear Gaussian pair whose posterior is strongly correlated."""
    found = type(ppca)(dim=3, scale=1.0)
    found.weight = torch.tensor([[1.0, 1.0], [1.5, 1.2], [0.4, 0.0]]).double()
    precision = torch.eye(2).double() + found.weight.T @ found.weight
    found.covariance = precision.inverse()
    found.regression = found.covariance @ found.weight.T
    return found


def test_the_exact_guide_is_calibrated_jointly(ppca):
    p_values = [calibration(ppca.model, ppca.guide(), 100, num_samples=19, seed=s).joint.p_value for s in range(12)]
    assert min(p_values) > 0.005
    assert sum(p < 0.9 for p in p_values) > 2


def test_a_missing_correlation_shows_in_the_joint_density_alone(oblique):
    found = calibration(oblique.model, marginals_of(oblique), 500)
    assert found.p_value > 0.01
    assert found.joint.p_values[LOG_P] < 1e-6
    assert found.joint.words().startswith(f"{LOG_P} does not rank evenly, draws are less probable than the truth: 90 %")


def test_a_guide_that_ignores_x_fails_both_by_density_and_by_distance(ppca):
    found = calibration(ppca.model, prior_of(ppca), 500)
    assert found.p_value > 0.01  # each dimension alone is that of the prior
    assert found.joint.p_values[LOG_Q] > 0.001
    assert max(found.joint.p_values[LOG_P], found.joint.p_values[DISTANCE]) < 1e-12
    assert found.joint.coverage(DISTANCE) > 0.97


@pytest.mark.parametrize(("stretch", "words"), [(0.5, "narrow"), (2.0, "wide")])
def test_regions_of_highest_density_have_their_exact_coverage(ppca, stretch, words):
    """q = Normal(m, s^2 C) on the plane: the region of level a holds P(chi^2_2 < s^2 c), with P(chi^2_2 < c) = a."""
    found = calibration(ppca.model, ppca.guide(stretch=stretch), 2000).joint
    for level in (0.5, 0.9):
        expected = 1 - (1 - level) ** (stretch**2)
        assert found.coverage(LOG_Q, level) == pytest.approx(expected, abs=0.04)
    levels, shares = found.curve(LOG_Q)
    assert levels[0] == shares[0] == 0
    assert levels[-1] == 1
    assert (shares.diff() >= 0).all()
    below = JointRanks({LOG_Q: found.ranks[LOG_Q]}, found.num_samples)
    assert f"the guide is too {words}: 90 % regions of highest density q hold" in below.words()


def test_functions_of_the_user_are_ranked(ppca):
    functions = {"first": lambda z, batch: z["z"][..., 0], "with x": lambda z, batch: z["z"][..., 1] * batch["x"][:, 0]}
    found = calibration(ppca.model, ppca.guide(), 60, num_samples=19, functions=functions)
    alone = calibration(ppca.model, ppca.guide(), 60, num_samples=19)
    assert torch.equal(found.joint.ranks["first"], found.ranks["z"][:, 0])
    assert set(found.joint.ranks) == {LOG_P, LOG_Q, DISTANCE, "first", "with x"}
    assert torch.equal(found.ranks["z"], alone.ranks["z"])
    assert found.joint.coverage("first") == found.coverage("z")[0]


def test_a_function_has_a_number_for_each_draw(ppca, says):
    with says(ShapeError, "functions['z']", "(S, B) = (19, 30)", "(19, 30, 2)"):
        calibration(ppca.model, ppca.guide(), 30, num_samples=19, functions={"z": lambda z, batch: z["z"]})


@pytest.mark.parametrize("chunk", [2**12, 2**28])
def test_ranks_in_chunks_of_any_size(ppca, chunk):
    found = calibration(ppca.model, ppca.guide(), 40, num_samples=9, memory=chunk).joint
    assert found.num_samples == {LOG_P: 9, LOG_Q: 9, DISTANCE: 9}
    assert all(len(ranks) == 40 and 0 <= ranks.min() <= ranks.max() <= 9 for ranks in found.ranks.values())


@pytest.mark.parametrize("name", ["codes-nearest", "codes-levels", "autoencoder"])
def test_a_guide_that_is_certain_is_a_point_and_not_too_narrow(name):
    pair = PAIRS[name]()
    found = calibration(pair.model, pair.guide, 30, num_samples=9)
    assert set(found.points) == {"z"}
    assert found.joint is None
    assert found.p_value != found.p_value
    assert "a point and not a posterior" in found.words()
    assert f"has {100 * found.points['z']:.0f} % of the values" in str(found)


def test_codes_with_a_density_are_ranked_with_ties_at_random():
    pair = PAIRS["codes-gumbel"]()
    found = calibration(pair.model, pair.guide, 100, num_samples=19)
    assert not found.points
    assert found.ranks["z"].unique().numel() > 10


def test_references_follow_x(ppca):
    torch.manual_seed(1)
    z, others = torch.randn(400, 2).double(), torch.randn(400, 2).double()
    x, other_x = (part @ ppca.weight.T + 0.1 * torch.randn(400, 5) for part in (z, others))
    near, scale = references(flattened({"x": x}), flattened({"x": other_x}), others)
    assert ((near - z).square().mean(0) < 0.1).all()
    noise = torch.randn(2, 400, 600).double()
    near, scale = references(*noise, others)  # more columns than data points, none of which says anything
    assert abs(torch.corrcoef(torch.stack([near[:, 0], z[:, 0]]))[0, 1]) < 0.15
    assert (scale > 0).all()


def test_ranks_as_numbers_between_0_and_1(ppca):
    found = calibration(ppca.model, ppca.guide(), 30, num_samples=9)
    pit = found.pit()
    assert set(pit) == {"z", LOG_P, LOG_Q, DISTANCE}
    torch.testing.assert_close(pit["z"], (found.ranks["z"] + 0.5) / 10.0, check_dtype=False)
    assert all(part.min() > 0 and part.max() < 1 for part in pit.values())


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "count"), [(5, 500), (200, 200)])
def test_the_distance_to_a_reference_has_its_level(columns, count):
    """400 right cases of a linear Gaussian pair, with few columns and with as many as simulations."""
    weight = (torch.randn(columns, 2, generator=torch.Generator().manual_seed(0)) * 2 / columns**0.5).double()
    covariance = (torch.eye(2).double() + weight.T @ weight).inverse()
    tril, p_values = torch.linalg.cholesky(covariance), []
    for _ in range(400):
        z, others = torch.randn(2, count, 2).double()
        x, other_x = (part @ weight.T + torch.randn(count, columns).double() for part in (z, others))
        draws = x @ weight @ covariance + torch.randn(99, count, 2).double() @ tril.T
        near, scale = references(x, other_x, others)
        ranks = ranks_among(distances(draws, near, scale), distances(z[None], near, scale)[0])
        p_values.append(smooth_p_value(ranks, 99))
    for level in (0.01, 0.05, 0.5):  # three standard errors
        share = (torch.tensor(p_values) < level).double().mean().item()
        assert abs(share - level) < 3 * (level * (1 - level) / 400) ** 0.5
