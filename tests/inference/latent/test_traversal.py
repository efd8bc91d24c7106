"""Interpolations, traversals and attributes, where the decoder is linear."""

import math

import pyro
import pyro.distributions as dist
import torch

from pyrovae.errors import DataError, PairError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import (
    attribute,
    encode,
    generate,
    interpolate,
    latent_map,
    lerp,
    slerp,
    traverse,
    vary,
)
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def test_an_interpolation_decodes_its_path(ppca):
    z = torch.randn(2, 2).double()
    x = interpolate(ppca.model, {"z": z[0]}, {"z": z[1]}, num_steps=5, kind=lerp)
    expected = lerp(ppca.decode(z[0]), ppca.decode(z[1]), torch.linspace(0, 1, 5).double())
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-6)
    arc = interpolate(ppca.model, {"z": z[0]}, {"z": z[1]}, num_steps=7)
    assert arc.shape == (7, 5)
    torch.testing.assert_close(arc[[0, -1]], ppca.decode(z), rtol=0, atol=1e-6)


def test_an_interpolation_of_spatial_codes_goes_along_their_vectors():
    def model(*, size):
        with pyro.plate("data", size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2, 3, 3), 1.0).to_event(3))
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(3))

    start, end = torch.randn(2, 2, 3, 3)
    path = interpolate(model, {"z": start}, {"z": end}, num_steps=4)
    expected = slerp(start.flatten(), end.flatten(), torch.linspace(0, 1, 4)).reshape(4, 2, 3, 3)
    torch.testing.assert_close(path, expected)


def test_a_traversal_moves_x_along_the_decoders_column(ppca):
    data = ppca.data(400)
    z = encode(ppca.model, ppca.guide(), data)["z"][0]
    walk = traverse(ppca.model, ppca.guide(), data, code={"z": z}, num_steps=5)
    assert (walk.latent, walk.x.shape, walk.codes.shape) == ("z", (2, 5, 5), (2, 5, 2))
    torch.testing.assert_close(walk.x, ppca.decode(walk.codes))
    for row, dim in enumerate(walk.dims):
        torch.testing.assert_close(walk.codes[row, :, dim], walk.values[row])
        torch.testing.assert_close(walk.codes[row, :, 1 - dim], z[1 - dim].expand(5))
        expected = walk.values[row].diff().unsqueeze(-1) * ppca.weight[:, dim]
        torch.testing.assert_close(walk.x[row].diff(dim=0), expected)


def test_a_traversal_goes_over_the_aggregate_posterior_around_the_priors_mean(ppca):
    walk = traverse(ppca.model, ppca.guide(), ppca.data(20_000), num_steps=3, extent=2.0)
    torch.testing.assert_close(walk.values, torch.tensor([[-2.0, 0, 2]]).double().expand(2, 3), rtol=0, atol=0.05)
    held = walk.codes[torch.arange(2), :, [1 - dim for dim in walk.dims]]
    assert not held.any()  # the prior's mean


def test_the_dimensions_go_by_their_rates(scaled):
    model, guide, information = scaled
    data = {"x": generate(model, 20_000, mean=False)}
    walk = traverse(model, guide, data, num_dims=2)
    assert walk.dims == [1, 2]
    torch.testing.assert_close(walk.rates, information[[1, 2]], rtol=0.03, atol=0)
    assert walk.x.shape == (2, 9, 3)
    assert traverse(model, guide, data).dims == [1, 2, 0]


def test_a_traversal_prints_as_a_table(scaled):
    model, guide, _ = scaled
    walk = traverse(model, guide, {"x": torch.randn(20, 3)}, num_dims=2, num_steps=3)
    lines = str(walk).splitlines()
    assert lines[0].split() == ["dimension", "rate", "from", "to"]
    assert lines[1].split()[:2] == ["z[1]", f"{walk.rates[0]:.3f}"]
    assert len(lines) == 4
    assert lines[3] == "3 values of each; rates in nats per data point"
    assert repr(walk) == str(walk)


def test_levels_below_follow_the_traversed_one_and_others_are_held(conditional, conditional_guide):
    x, given = torch.randn(50, 2), {"y": torch.tensor(1.0)}
    data = {"x": x, "y": torch.arange(50.0)}
    follow = traverse(conditional, conditional_guide, data, latent="z2", given=given)
    torch.testing.assert_close(follow.x, 2 * follow.codes + 1)
    held = {"z1": torch.tensor([3.0, 4.0])}
    still = traverse(conditional, conditional_guide, data, latent="z2", code=held, given=given)
    torch.testing.assert_close(still.x, (held["z1"] + 1).expand(2, 9, 2))
    below = traverse(conditional, conditional_guide, data, latent="z1", code={"z2": x[0]}, given=given)
    torch.testing.assert_close(below.x, below.codes + 1)
    torch.testing.assert_close(below.codes[0, :, 1 - below.dims[0]], (2 * x[0, 1 - below.dims[0]]).expand(9))


def test_a_traversal_of_every_pair(representative):
    pair = representative
    z = {name: code[0] for name, code in encode(pair.model, pair.guide, pair.batch, mean=False).items()}
    others = {name: tensor[0] for name, tensor in pair.batch.items() if name not in ("x", *pair.latent)}
    given = {name: value.clamp_min(0).to(value.dtype) for name, value in others.items()}
    for site in (name for name, event in pair.latent.items() if event):
        walk = traverse(pair.model, pair.guide, pair.batch, latent=site, code=z, given=given, num_dims=2, num_steps=3)
        assert walk.x.shape == (2, 3, *pair.batch["x"].shape[1:])
        assert walk.x.isfinite().all()


def test_a_site_to_traverse(ppca, says, conditional, conditional_guide):
    data = {"x": torch.randn(3, 2), "y": torch.zeros(3)}
    with says(PairError, "several latent sites", "latent=", "'z2', 'z1'"):
        traverse(conditional, conditional_guide, data, given={"y": torch.tensor(0.0)})
    with says(PairError, "no latent site 'w'", "'z'"):
        traverse(ppca.model, ppca.guide(), ppca.data(3), latent="w")


def test_an_empty_code_is_refused(ppca, says):
    with says(DataError, "a code of at least one latent", "or None"):
        traverse(ppca.model, ppca.guide(), ppca.data(5), code={})


def test_a_label_has_no_dimensions(says, labelled):
    with says(PairError, "'k' is a label", "torch.tensor(0)"):
        traverse(*labelled, {"x": torch.zeros(4, 1)})
    with says(PairError, "'k' is a label", "bincount"):
        latent_map(*labelled, {"x": torch.zeros(4, 1)})


def test_a_traversal_from_a_prior_without_a_mean(says):
    model, guide = VAE(priors.Flat(2), likelihoods.Normal(3), MLP(2, 3)), NormalGuide(MLP(3, 4))
    data = {"x": torch.randn(4, 3)}
    with says(PairError, "site 'z'", "no mean in closed form", "z[0]"):
        traverse(model, guide, data)
    walk = traverse(model, guide, data, code={"z": torch.zeros(2)})
    assert walk.dims == [0, 1]  # no rates to go by
    assert walk.rates.isnan().all()


def planted(size=400):
    """Codes whose third of five dimensions an attribute shifts by 2."""
    has = torch.arange(size) % 4 == 0
    z = torch.randn(size, 5).double()
    z[has, 2] += 2
    return z, has


def test_an_attribute_is_the_difference_of_the_means():
    z = torch.tensor([[0.0, 1.0], [2.0, 3.0], [7.0, 7.0]])
    assert attribute(z, torch.tensor([True, True, False])).tolist() == [-6, -5]


def test_an_attribute_recovers_the_planted_direction():
    z, has = planted(4000)
    error = math.sqrt(1 / 1000 + 1 / 3000)
    torch.testing.assert_close(attribute(z, has), 2 * torch.eye(5).double()[2], rtol=0, atol=4 * error)


def test_a_code_varies_along_a_direction(ppca):
    z, v = torch.randn(3, 2).double(), torch.randn(2).double()
    x = vary(ppca.model, {"z": z}, {"z": v}, strengths=(-1, 0, 0.5))
    assert x.shape == (3, 3, 5)
    torch.testing.assert_close(x[:, 1], ppca.decode(z))
    torch.testing.assert_close(x[:, 2] - x[:, 1], (0.5 * v @ ppca.weight.T).expand(3, 5))
    torch.testing.assert_close(x[:, 0] - x[:, 1], (-v @ ppca.weight.T).expand(3, 5))


def test_a_direction_leaves_the_other_sites_and_the_condition_alone(conditional):
    codes, y = {"z2": torch.randn(4, 2), "z1": torch.randn(4, 2)}, torch.arange(4.0)
    v = torch.ones(2)
    x = vary(conditional, codes, {"z1": v}, strengths=(0, 1), given={"y": y})
    torch.testing.assert_close(x[:, 0], codes["z1"] + y.unsqueeze(-1))
    torch.testing.assert_close(x[:, 1], codes["z1"] + 1 + y.unsqueeze(-1))
    below = vary(conditional, {"z2": codes["z2"]}, {"z2": v}, strengths=(0, 1), given={"y": y})
    torch.testing.assert_close(below[:, 1] - below[:, 0], torch.full((4, 2), 2.0))  # z1 follows: its mean is 2 z2


def test_what_is_no_attribute(says):
    z = torch.randn(4, 2)
    with says(ShapeError, "one bool for each", "(4, 2)", "int64", "y == 3"):
        attribute(z, torch.arange(4))
    with says(ShapeError, "(3,)"):
        attribute(z, torch.ones(3, dtype=torch.bool))
    with says(DataError, "got 4 with it of 4"):
        attribute(z, torch.ones(4, dtype=torch.bool))


def test_a_direction_that_does_not_fit(ppca, says):
    with says(PairError, "direction at 'w'", "'z'"):
        vary(ppca.model, {"z": torch.zeros(2, 2)}, {"w": torch.zeros(2)})
    with says(ShapeError, "direction at 'z' has shape (3,)", "(2,)"):
        vary(ppca.model, {"z": torch.zeros(2, 2)}, {"z": torch.zeros(3)})


def test_an_interpolation_between_what_is_not_two_codes(ppca, says):
    with says(ShapeError, "two codes of equal shape at 'z'", "(2,) and (3,)"):
        interpolate(ppca.model, {"z": torch.zeros(2)}, {"z": torch.zeros(3)})
    with says(ShapeError, "site 'z' of the model has shape (10, 2)", "(10, 4, 2)", "z[0]"):
        interpolate(ppca.model, {"z": torch.zeros(4, 2)}, {"z": torch.zeros(4, 2)})
