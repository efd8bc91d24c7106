"""The mutual information gap and the FactorVAE score, where dimensions are factors, mixtures of them, or noise."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError, SettingError
from pyrovae.guides import DeltaGuide, FlowGuide, FullNormalGuide
from pyrovae.inference import encode, factor_vae_score, mutual_information_gap
from pyrovae.networks.dense import MLP

SIZES = {"a": 3, "b": 4, "c": 5}


@pytest.fixture
def grid():
    """Every combination of three factors, ten times; `x` has the factors as columns, each with variance 1."""
    table = torch.cartesian_prod(*map(torch.arange, SIZES.values())).repeat(10, 1)
    x = (table - table.float().mean(0)) / table.float().std(0)
    return {"x": x, **dict(zip(SIZES, table.T, strict=True))}


def model(x=None, *, size=None):
    with pyro.plate("data", size or len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def guide_of(function, scale=0.02):
    """q(z | x) = Normal(z; function(x), scale)."""

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(function(x), scale).to_event(1))

    return guide


IDENTITY = guide_of(lambda x: x)
NOISE = guide_of(lambda x: torch.zeros(len(x), 3), 1.0)


# A reflection: each factor has the weights 1/3, -2/3 and -2/3 in the three dimensions, two of them alike.
MIXED = torch.eye(3) - 2 / 3


# ------------------------------------------------------------------------------------ what the two must say


@pytest.mark.parametrize("num_bins", [None, 20])
def test_dimensions_that_are_the_factors(grid, num_bins):
    found = mutual_information_gap(model, IDENTITY, grid, SIZES, num_bins=num_bins)
    assert found.value > 0.95
    assert found.value == pytest.approx(sum(found.gaps.values()) / 3)
    for k, (name, size) in enumerate(SIZES.items()):
        assert found.entropies[name] == pytest.approx(math.log(size))
        assert found.information[name][k].item() == pytest.approx(math.log(size), abs=1e-3)
        assert found.information[name].argmax() == k
    score = factor_vae_score(model, IDENTITY, grid, SIZES)
    assert score.value == 1
    assert torch.equal(score.votes, 200 * torch.eye(3, dtype=torch.int64))
    assert score.active.all()


def test_factors_that_are_mixed(grid):
    guide = guide_of(lambda x: x @ MIXED, 0.3)
    found = mutual_information_gap(model, guide, grid, SIZES)
    assert found.value < 0.05
    assert max(information.max() for information in found.information.values()) > 0.2
    assert factor_vae_score(model, guide, grid, SIZES).value < 0.95


def test_a_factor_in_two_dimensions_has_no_gap(grid):
    """The gap measures compactness: two copies of a factor leave no gap, but do not lower the score."""
    guide = guide_of(lambda x: torch.cat([x, x], -1))
    found = mutual_information_gap(model, guide, grid, SIZES)
    assert found.value < 0.01
    assert factor_vae_score(model, guide, grid, SIZES).value == 1


def test_a_guide_that_ignores_x_is_at_chance(grid):
    found = mutual_information_gap(model, NOISE, grid, SIZES)
    assert all(information.abs().max() < 1e-6 for information in found.information.values())
    assert found.value == pytest.approx(0, abs=1e-6)
    score = factor_vae_score(model, NOISE, grid, SIZES)
    assert not score.active.any()
    assert score.value == pytest.approx(1 / 3)


def test_collapsed_dimensions_take_no_part(grid):
    """In units of its own deviation a collapsed dimension varies as much as any; its draws must not win votes."""
    guide = guide_of(lambda x: torch.cat([x, torch.zeros(len(x), 2)], -1), torch.tensor([0.02, 0.02, 0.02, 1.0, 1.0]))
    score = factor_vae_score(model, guide, grid, SIZES)
    assert score.active.tolist() == [True] * 3 + [False] * 2
    assert score.value == 1
    assert score.votes[3:].sum() == 0


def test_two_factors_in_one_dimension_cannot_be_told(grid):
    guide = guide_of(lambda x: torch.stack([x[:, 0] + 0.1 * x[:, 1], x[:, 2]], -1))
    score = factor_vae_score(model, guide, grid, SIZES)
    assert 0.6 < score.value < 1
    assert (score.votes.sum(0) == 200).all()


# --------------------------------------------------------------------------------- the estimate is the exact one


def discrete(probs):
    """q(z_d | x) = Categorical(probs[d, x]), in a plate of dimensions; `probs` is `(D, X, V)`."""

    def guide(x):
        with pyro.plate("data", len(x), dim=-1), pyro.plate("dims", len(probs), dim=-2):
            pyro.sample("z", dist.Categorical(probs[:, x]))

    return guide


def exact(joint):
    """The mutual information of a joint table of probabilities."""
    outer = joint.sum(0, keepdim=True) * joint.sum(1, keepdim=True)
    return (joint * (joint / outer).log()).sum().item()


def test_the_information_of_labels_in_a_plate_is_the_exact_one():
    """Four data of two values of a factor, two dimensions of three values each, summed by hand."""
    probs = torch.tensor(
        [
            [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7], [0.2, 0.3, 0.5]],
            [[0.3, 0.3, 0.4], [0.6, 0.2, 0.2], [0.3, 0.5, 0.2], [0.5, 0.1, 0.4]],
        ]
    )
    x = torch.arange(4).repeat(500)
    v = (x > 1).long()
    found = mutual_information_gap(model, discrete(probs), {"x": x, "v": v}, ["v"])
    wanted = [exact(torch.stack([p[:2].mean(0), p[2:].mean(0)]) / 2) for p in probs]
    assert found.information["v"].tolist() == pytest.approx(wanted, abs=0.02)
    assert found.gaps["v"] == pytest.approx((wanted[0] - wanted[1]) / math.log(2), abs=0.03)


def test_the_information_of_a_normal_is_the_exact_one():
    """Two values of a factor in unequal shares, 3 to 1, q(z | v) = Normal(-+1, 1): the integral on a grid."""
    v = (torch.arange(2000) % 4 == 0).long()
    found = mutual_information_gap(
        model, guide_of(lambda x: torch.stack([x, 0 * x], -1), 1.0), {"x": 2.0 * v - 1, "v": v}, "v"
    )
    z = torch.linspace(-8, 8, 4001)
    joint = torch.stack([0.75 * dist.Normal(-1, 1).log_prob(z).exp(), 0.25 * dist.Normal(1, 1).log_prob(z).exp()])
    assert found.information["v"][0].item() == pytest.approx(exact(joint / joint.sum()), abs=0.03)
    assert found.information["v"][1].item() == pytest.approx(0, abs=1e-4)
    assert found.entropies["v"] == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


def test_histograms_of_draws_have_the_plug_in_information(grid):
    """For a point mass on a coarse code, I(z; v) = H(v) - H(v | z) by counting."""

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Delta(torch.stack([(x[:, 1] > 0).float(), x[:, 2]], -1), event_dim=1))

    found = mutual_information_gap(model, guide, grid, ["b"], num_bins=10)
    assert found.information["b"].tolist() == pytest.approx([math.log(2), 0], abs=1e-5)
    assert found.gaps["b"] == pytest.approx(0.5, abs=1e-5)


# ---------------------------------------------------------------------------------------- any pair, chunks, state


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_marginals_of_a_full_normal_are_what_counts(grid, scale):
    """A diagonal normal, written as a full one, gives the same gap."""

    def full(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.MultivariateNormal(x, scale_tril=scale * torch.eye(3)))

    options = {"data": grid, "factors": SIZES, "seed": 3}
    one, other = (mutual_information_gap(model, guide, **options) for guide in (guide_of(lambda x: x, scale), full))
    assert one.value == pytest.approx(other.value, abs=1e-5)


def test_guides_of_the_suite(grid, says):
    few = {name: tensor[:60] for name, tensor in grid.items()}
    for guide in (FullNormalGuide(MLP(3, 9, (5,))), DeltaGuide(MLP(3, 3, (5,)))):
        found = mutual_information_gap(model, guide, few, SIZES, num_bins=20)
        assert 0 <= found.value <= 1
    flow = FlowGuide(MLP(3, 10, (5,)), dim=3, context=4, hidden=(5,))
    with says(PairError, "site 'z'", "num_bins=20"):
        mutual_information_gap(model, flow, few, SIZES)
    assert 0 <= mutual_information_gap(model, flow, few, SIZES, num_bins=20).value <= 1
    assert 0 < factor_vae_score(model, flow, few, SIZES, mean=False).value <= 1


def test_every_pair_of_the_suite(representative):
    pair = representative
    data = {**pair.batch, "v": torch.arange(len(pair.batch["x"])) % 2}
    for latent, event in pair.latent.items():
        score = factor_vae_score(
            pair.model, pair.guide, data, ["v"], latent=latent, mean=False, num_votes=3, group_size=3
        )
        assert score.value == 1  # there is one factor
        assert score.votes.shape == (math.prod(event), 1)
        if math.prod(event) > 1:
            found = mutual_information_gap(pair.model, pair.guide, data, ["v"], latent=latent, num_bins=3)
            assert 0 <= found.value <= 1
            assert found.information["v"].shape == (math.prod(event),)


def test_chunks_change_nothing(grid):
    guide = guide_of(lambda x: x @ MIXED, 0.3)
    one, many = (mutual_information_gap(model, guide, grid, SIZES, memory=m).information["b"] for m in (1, 2**30))
    torch.testing.assert_close(one, many)


def test_the_seed_decides_and_nothing_is_disturbed(grid):
    guide = guide_of(lambda x: x @ MIXED, 0.5)
    state = torch.get_rng_state()
    one, same, other = (mutual_information_gap(model, guide, grid, SIZES, seed=s).value for s in (1, 1, 2))
    votes = [factor_vae_score(model, guide, grid, SIZES, seed=s).votes for s in (1, 1)]
    assert one == same != other
    assert torch.equal(*votes)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_transform_is_applied(grid):
    def mirrored(batch):
        return {**batch, "x": batch["x"].flip(-1)}

    found = mutual_information_gap(model, IDENTITY, grid, SIZES, transform=mirrored)
    assert found.information["a"].argmax() == 2
    assert encode(model, IDENTITY, grid, transform=mirrored)["z"][:, 2].equal(grid["x"][:, 0])


def test_bytes_are_scaled(grid):
    x = (255 * grid["x"].sigmoid()).byte()
    for measure in (mutual_information_gap, factor_vae_score):
        found, scaled = (measure(model, IDENTITY, {**grid, "x": value}, SIZES) for value in (x, x / 255))
        assert str(found) == str(scaled)
        assert found.value == scaled.value


def test_the_bar_is_shown_and_changes_nothing(grid, capsys):
    quiet = mutual_information_gap(model, IDENTITY, grid, SIZES)
    assert "data point" not in capsys.readouterr().err
    assert mutual_information_gap(model, IDENTITY, grid, SIZES, progress=True).value == quiet.value
    assert "600/600" in capsys.readouterr().err


def test_the_tables(grid):
    rows = str(mutual_information_gap(model, IDENTITY, grid, SIZES)).splitlines()
    assert rows[0].split()[:3] == ["factor", "gap", "H(v)"]
    assert [row.split()[0] for row in rows[1:5]] == ["a", "b", "c", "mean"]
    assert "1.386 at d = 1" in rows[2]
    rows = str(factor_vae_score(model, IDENTITY, grid, SIZES)).splitlines()
    assert rows[1].split() == ["d", "=", "0", "200", "0", "0"]
    assert rows[-1] == "accuracy 1.000, 3 of 3 dimensions active"


# -------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("measure", [mutual_information_gap, factor_vae_score])
def test_what_is_no_factor(measure, grid, says):
    with says(PairError, "no factor 'd'", "'a', 'b', 'c'"):
        measure(model, IDENTITY, grid, ["d"])
    with says(PairError, "integer label", "'x'", "torch.float32", "bucketize"):
        measure(model, IDENTITY, grid, ["x"])
    with says(PairError, "factor 'one'", "one value"):
        measure(model, IDENTITY, {**grid, "one": torch.ones(600).long()}, ["one"])
    for factors in ([], None, 3):
        with says(SettingError, "factors requires a list of at least one value"):
            measure(model, IDENTITY, grid, factors)
    with says(PairError, "no site 'w'", "'z'", "latent="):
        measure(model, IDENTITY, grid, SIZES, latent="w")


def test_one_dimension_has_no_gap(grid, says):
    with says(PairError, "two dimensions", "site 'z'"):
        mutual_information_gap(model, guide_of(lambda x: x[:, :1]), grid, SIZES)


@pytest.mark.parametrize("measure", [mutual_information_gap, factor_vae_score])
def test_no_data(measure, grid, says):
    with says(PairError, f"{measure.__name__} requires data", "empty batch"):
        measure(model, IDENTITY, {name: tensor[:0] for name, tensor in grid.items()}, SIZES)


def test_a_latent_of_all_data_has_no_codes(grid, says):
    def guide(x):
        pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    with says(PairError, "site 'z'", "outside the plate 'data'"):
        mutual_information_gap(model, guide, grid, SIZES)
