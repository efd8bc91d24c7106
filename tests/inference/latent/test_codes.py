"""Codes, reconstructions, generated data and paths, where all means are exact."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import DataError, PairError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import (
    attribute,
    decode,
    encode,
    generate,
    interpolate,
    latent_map,
    lerp,
    neighbours,
    reconstruct,
    slerp,
    traverse,
    vary,
)
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

# ------------------------------------------------------------------------------------- codes and data


def test_a_code_is_the_posterior_mean(ppca):
    data = ppca.data(7)
    codes = encode(ppca.model, ppca.guide(), data)
    assert set(codes) == {"z"}
    torch.testing.assert_close(codes["z"], ppca.posterior_mean(data["x"]))


def test_a_drawn_code_has_the_posterior_moments(ppca):
    data = {"x": ppca.data(1)["x"].expand(8000, -1)}
    z = encode(ppca.model, ppca.guide(), data, mean=False)["z"]
    error = ppca.covariance.diagonal().sqrt() / math.sqrt(8000)
    assert ((z.mean(0) - ppca.posterior_mean(data["x"][0])).abs() < 4 * error).all()
    torch.testing.assert_close(z.T.cov(), ppca.covariance, rtol=0.1, atol=0.01)


def test_decoding_is_the_mean_of_the_likelihood(ppca):
    z = torch.randn(6, 2).double()
    torch.testing.assert_close(decode(ppca.model, {"z": z}), ppca.decode(z))


def test_decoded_draws_have_the_likelihoods_moments(ppca):
    z = torch.ones(8000, 2).double()
    x = decode(ppca.model, {"z": z}, mean=False)
    assert ((x.mean(0) - ppca.decode(z[0])).abs() < 4 * ppca.scale / math.sqrt(8000)).all()
    torch.testing.assert_close(x.std(0), torch.full((5,), ppca.scale).double(), rtol=0.05, atol=0)


def test_a_reconstruction_decodes_the_code(ppca):
    data = ppca.data(7)
    expected = ppca.decode(ppca.posterior_mean(data["x"]))
    torch.testing.assert_close(reconstruct(ppca.model, ppca.guide(), data), expected)
    assert not torch.allclose(reconstruct(ppca.model, ppca.guide(), data, mean=False), expected)


def test_generated_data_have_the_models_moments(ppca):
    x = generate(ppca.model, 20_000, mean=False)
    error = ppca.evidence.variance.sqrt() / math.sqrt(20_000)
    assert ((x.mean(0) - ppca.loc).abs() < 4 * error).all()
    torch.testing.assert_close(x.T.cov(), ppca.evidence.covariance_matrix, rtol=0.1, atol=0.1)


def test_generated_means_lie_on_the_decoders_plane(ppca):
    x = generate(ppca.model, 9) - ppca.loc
    assert torch.linalg.matrix_rank(x, atol=1e-9) == 2
    assert torch.linalg.matrix_rank(generate(ppca.model, 9, mean=False) - ppca.loc, atol=1e-9) == 5


def test_another_site_can_be_asked_for(ppca):
    assert generate(ppca.model, 9, site="z").shape == (9, 2)
    assert torch.equal(generate(ppca.model, 9, site="z"), torch.zeros(9, 2).double())  # the prior's mean


def test_many_data_are_encoded_in_chunks(ppca, monkeypatch):
    sizes = []

    def guide(x):
        sizes.append(len(x))
        return ppca.guide()(x)

    monkeypatch.setattr("pyrovae.inference.latent.CHUNK", 4)
    data = ppca.data(10)
    torch.testing.assert_close(encode(ppca.model, guide, data)["z"], ppca.posterior_mean(data["x"]))
    assert sizes == [4, 4, 2]


def test_a_transform_comes_first(ppca):
    data = ppca.data(3)
    halved = {"x": data["x"] / 2}
    codes = encode(ppca.model, ppca.guide(), halved, transform=lambda batch: {"x": 2 * batch["x"]})
    torch.testing.assert_close(codes["z"], ppca.posterior_mean(data["x"]))


def test_the_seed_decides_and_the_global_state_stays(ppca):
    rng = torch.get_rng_state()
    one, same, other = (generate(ppca.model, 3, mean=False, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), rng)


def test_modes_and_gradients_are_left_alone():
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Normal(3), MLP(2, 3)), NormalGuide(MLP(3, 4))
    x = reconstruct(model, guide, {"x": torch.randn(4, 3)})
    assert not x.requires_grad
    assert model.training
    assert guide.training
    assert not list(pyro.get_param_store())


# -------------------------------------------------------------------------------- hierarchies, conditions


def conditional(x=None, y=None, *, size=None):
    """p(x | z, y), with two levels: z1 given z2."""
    with pyro.plate("data", len(x) if size is None else size, dim=-1):
        z2 = pyro.sample("z2", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        z1 = pyro.sample("z1", dist.Normal(2 * z2, 1.0).to_event(1))
        return pyro.sample("x", dist.Normal(z1 + y.unsqueeze(-1), 0.1).to_event(1), obs=x)


def conditional_guide(x, y):
    with pyro.plate("data", len(x), dim=-1):
        z2 = pyro.sample("z2", dist.Normal(x, 1.0).to_event(1))
        pyro.sample("z1", dist.Normal(z2 + y.unsqueeze(-1), 1.0).to_event(1))


def test_a_hierarchy_is_encoded_from_the_top():
    x, y = torch.randn(5, 2), torch.arange(5.0)
    codes = encode(conditional, conditional_guide, {"x": x, "y": y})
    torch.testing.assert_close(codes, {"z2": x, "z1": x + y.unsqueeze(-1)})


def test_a_reconstruction_keeps_its_condition():
    x, y = torch.randn(5, 2), torch.arange(5.0)
    result = reconstruct(conditional, conditional_guide, {"x": x, "y": y})
    halved = reconstruct(
        conditional,
        conditional_guide,
        {"x": 2 * x, "y": 2 * y},
        transform=lambda batch: {name: tensor / 2 for name, tensor in batch.items()},
    )
    torch.testing.assert_close(halved, result)
    torch.testing.assert_close(result, x + 2 * y.unsqueeze(-1))


def test_levels_that_are_left_out_are_drawn_from_the_prior():
    z2, y = torch.full((4000, 2), 3.0), torch.zeros(4000)
    x = decode(conditional, {"z2": z2}, given={"y": y})
    assert x.mean().item() == pytest.approx(6, abs=0.1)
    assert x.std().item() == pytest.approx(1, abs=0.05)


def test_generation_under_a_condition():
    x = generate(conditional, 4000, given={"y": torch.full((4000,), 9.0)})
    assert x.mean().item() == pytest.approx(9, abs=0.2)


def test_auxiliary_sites_are_no_codes(ppca):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("noise", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(ppca.posterior_mean(x), 1.0).to_event(1))

    data = ppca.data(3)
    assert set(encode(ppca.model, guide, data)) == {"z"}
    assert reconstruct(ppca.model, guide, data).shape == (3, 5)


# ------------------------------------------------------------------------- plates inside, latents of all data


def plated(x=None, *, size=None):
    """p(x | z, u) with a u for each of 4 covariates."""
    with pyro.plate("data", len(x) if size is None else size, dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("covariates", 4, dim=-2):
            u = pyro.sample("u", dist.Normal(z[..., 0], 1.0))
        return pyro.sample("x", dist.Normal(z + u.sum(-2).unsqueeze(-1), 1.0).to_event(1), obs=x)


def plated_guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(x, 0.1).to_event(1))
        with pyro.plate("covariates", 4, dim=-2):
            pyro.sample("u", dist.Normal(x[:, 0] * torch.arange(1.0, 5.0).unsqueeze(-1), 0.1))


def test_a_code_in_an_inner_plate_has_the_datum_first(monkeypatch):
    monkeypatch.setattr("pyrovae.inference.latent.CHUNK", 4)
    x = torch.randn(6, 2)
    codes = encode(plated, plated_guide, {"x": x})
    torch.testing.assert_close(codes["u"], x[:, :1] * torch.arange(1.0, 5.0))
    torch.testing.assert_close(reconstruct(plated, plated_guide, {"x": x}), x + 10 * x[:, :1])
    walk = traverse(plated, plated_guide, {"x": x}, site="u", code={"z": x[0]})
    assert walk.dims == [3, 2, 1, 0]
    torch.testing.assert_close(walk.x, x[0] + walk.codes.sum(-1, keepdim=True))


def shared_weights(x=None, *, size=None, data_size=None):
    """p(x | z, w) with the weights w latent, one for all data."""
    w = pyro.sample("w", dist.Normal(torch.zeros(3, 2), 1.0).to_event(2))
    with pyro.plate("data", data_size, subsample_size=len(x) if size is None else size, dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        return pyro.sample("x", dist.Normal(z @ w.T, 1.0).to_event(1), obs=x)


def shared_guide(x, data_size):
    pyro.sample("w", dist.Normal(2 * torch.ones(3, 2), 0.1).to_event(2))
    with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
        pyro.sample("z", dist.Normal(x[:, :2], 0.1).to_event(1))


def test_a_latent_of_all_data_is_the_same_in_every_code(monkeypatch):
    monkeypatch.setattr("pyrovae.inference.latent.CHUNK", 4)
    data = {"x": torch.randn(6, 3)}
    codes = encode(shared_weights, shared_guide, data, mean=False)
    assert codes["w"].shape == (6, 3, 2)
    assert torch.equal(codes["w"], codes["w"][:1].expand(6, 3, 2))
    x = decode(shared_weights, codes)
    torch.testing.assert_close(x, codes["z"] @ codes["w"][0].T)
    torch.testing.assert_close(
        reconstruct(shared_weights, shared_guide, data), 2 * data["x"][:, :2].sum(-1, keepdim=True).expand(6, 3)
    )
    walk = traverse(shared_weights, shared_guide, data, code={"w": codes["w"][0]})
    torch.testing.assert_close(walk.x, walk.codes @ codes["w"][0].T)
    assert not torch.allclose(traverse(shared_weights, shared_guide, data).x, torch.zeros(3))  # w as the guide has it
    assert latent_map(shared_weights, shared_guide, data, site="z").prior.shape == (6, 2)


# ------------------------------------------------------------------------------------- interpolations


def test_an_interpolation_decodes_its_path(ppca):
    z = torch.randn(2, 2).double()
    x = interpolate(ppca.model, {"z": z[0]}, {"z": z[1]}, steps=5, kind=lerp)
    expected = lerp(ppca.decode(z[0]), ppca.decode(z[1]), torch.linspace(0, 1, 5).double())
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-6)
    arc = interpolate(ppca.model, {"z": z[0]}, {"z": z[1]}, steps=7)
    assert arc.shape == (7, 5)
    torch.testing.assert_close(arc[[0, -1]], ppca.decode(z), rtol=0, atol=1e-6)


def test_an_interpolation_of_spatial_codes_goes_along_their_vectors():
    def model(*, size):
        with pyro.plate("data", size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2, 3, 3), 1.0).to_event(3))
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(3))

    start, end = torch.randn(2, 2, 3, 3)
    path = interpolate(model, {"z": start}, {"z": end}, steps=4)
    expected = slerp(start.flatten(), end.flatten(), torch.linspace(0, 1, 4)).reshape(4, 2, 3, 3)
    torch.testing.assert_close(path, expected)


# ----------------------------------------------------------------------------------------- traversals


def test_a_traversal_moves_x_along_the_decoders_column(ppca):
    data = ppca.data(400)
    z = encode(ppca.model, ppca.guide(), data)["z"][0]
    walk = traverse(ppca.model, ppca.guide(), data, code={"z": z}, steps=5)
    assert (walk.site, walk.x.shape, walk.codes.shape) == ("z", (2, 5, 5), (2, 5, 2))
    torch.testing.assert_close(walk.x, ppca.decode(walk.codes))
    for row, dim in enumerate(walk.dims):
        torch.testing.assert_close(walk.codes[row, :, dim], walk.values[row])
        torch.testing.assert_close(walk.codes[row, :, 1 - dim], z[1 - dim].expand(5))
        expected = walk.values[row].diff().unsqueeze(-1) * ppca.weight[:, dim]
        torch.testing.assert_close(walk.x[row].diff(dim=0), expected)


def test_a_traversal_goes_over_the_aggregate_posterior_around_the_priors_mean(ppca):
    walk = traverse(ppca.model, ppca.guide(), ppca.data(20_000), steps=3, extent=2.0)
    torch.testing.assert_close(walk.values, torch.tensor([[-2.0, 0, 2]]).double().expand(2, 3), rtol=0, atol=0.05)
    held = walk.codes[torch.arange(2), :, [1 - dim for dim in walk.dims]]
    assert not held.any()  # the prior's mean


def scaled():
    """x = z + noise of scale 3, 0.1, 1: rates rise with the precision. The guide is exact."""
    noise = torch.tensor([3.0, 0.1, 1.0])

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, noise).to_event(1), obs=x)

    def guide(x):
        precision = 1 + noise**-2
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x * noise**-2 / precision, precision**-0.5).to_event(1))

    return model, guide, (1 + noise**-2).log() / 2  # the mutual information of x and z


def test_the_dimensions_go_by_their_rates():
    model, guide, information = scaled()
    data = {"x": generate(model, 20_000, mean=False)}
    walk = traverse(model, guide, data, dims=2)
    assert walk.dims == [1, 2]
    torch.testing.assert_close(walk.rates, information[[1, 2]], rtol=0.03, atol=0)
    assert walk.x.shape == (2, 9, 3)
    assert traverse(model, guide, data).dims == [1, 2, 0]


def test_levels_below_follow_the_traversed_one_and_others_are_held():
    x, given = torch.randn(50, 2), {"y": torch.tensor(1.0)}
    data = {"x": x, "y": torch.arange(50.0)}
    follow = traverse(conditional, conditional_guide, data, site="z2", given=given)
    torch.testing.assert_close(follow.x, 2 * follow.codes + 1)
    held = {"z1": torch.tensor([3.0, 4.0])}
    still = traverse(conditional, conditional_guide, data, site="z2", code=held, given=given)
    torch.testing.assert_close(still.x, (held["z1"] + 1).expand(2, 9, 2))
    below = traverse(conditional, conditional_guide, data, site="z1", code={"z2": x[0]}, given=given)
    torch.testing.assert_close(below.x, below.codes + 1)
    torch.testing.assert_close(below.codes[0, :, 1 - below.dims[0]], (2 * x[0, 1 - below.dims[0]]).expand(9))


def test_a_traversal_of_every_pair(representative):
    pair = representative
    z = {name: code[0] for name, code in encode(pair.model, pair.guide, pair.batch, mean=False).items()}
    others = {name: tensor[0] for name, tensor in pair.batch.items() if name not in ("x", *pair.latent)}
    given = {name: value.clamp_min(0).to(value.dtype) for name, value in others.items()}
    for site in (name for name, event in pair.latent.items() if event):
        walk = traverse(pair.model, pair.guide, pair.batch, site=site, code=z, given=given, dims=2, steps=3)
        assert walk.x.shape == (2, 3, *pair.batch["x"].shape[1:])
        assert walk.x.isfinite().all()


def test_a_site_to_traverse(ppca, says):
    data = {"x": torch.randn(3, 2), "y": torch.zeros(3)}
    with says(PairError, "several latent sites", "site=", "'z2', 'z1'"):
        traverse(conditional, conditional_guide, data, given={"y": torch.tensor(0.0)})
    with says(PairError, "no latent site 'w'", "'z'"):
        traverse(ppca.model, ppca.guide(), ppca.data(3), site="w")


def labelled(x=None, *, size=None):
    with pyro.plate("data", len(x) if size is None else size, dim=-1):
        k = pyro.sample("k", dist.Categorical(logits=torch.zeros(3)))
        return pyro.sample("x", dist.Normal(k.unsqueeze(-1).float(), 1.0).to_event(1), obs=x)


def labels(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("k", dist.Categorical(logits=torch.zeros(3)))


def test_a_label_has_no_dimensions(says):
    with says(PairError, "'k' is a label", "torch.tensor(0)"):
        traverse(labelled, labels, {"x": torch.zeros(4, 1)})
    with says(PairError, "'k' is a label", "bincount"):
        latent_map(labelled, labels, {"x": torch.zeros(4, 1)})


def test_a_traversal_from_a_prior_without_a_mean(says):
    model, guide = VAE(priors.Flat(2), likelihoods.Normal(3), MLP(2, 3)), NormalGuide(MLP(3, 4))
    data = {"x": torch.randn(4, 3)}
    with says(PairError, "site 'z'", "no mean in closed form", "z[0]"):
        traverse(model, guide, data)
    walk = traverse(model, guide, data, code={"z": torch.zeros(2)})
    assert walk.dims == [0, 1]  # no rates to go by
    assert walk.rates.isnan().all()


# ------------------------------------------------------------------------------------------ attributes


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


def test_a_direction_leaves_the_other_sites_and_the_condition_alone():
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


# ------------------------------------------------------------------------------------------ neighbours


def test_the_neighbours_are_the_nearest(monkeypatch):
    monkeypatch.setattr("pyrovae.inference.latent.CELLS", 120)  # two queries at once
    z = torch.randn(60, 2, 3) + 1000  # where matrix products would lose the distances
    found = neighbours(z, z[:7], k=4)
    exact = (z[:7, None].double() - z.double()).flatten(2).norm(dim=-1).sort(-1)
    assert torch.equal(found.rows, exact.indices[:, :4])
    torch.testing.assert_close(found.distance, exact.values[:, :4].float())
    assert found.rows[:, 0].tolist() == list(range(7))


def test_neighbours_that_are_not_there(says):
    with says(ShapeError, "k = 5", "(4, 2)"):
        neighbours(torch.zeros(4, 2), torch.zeros(1, 2))
    with says(ShapeError, "(4, 2)", "(1, 3)"):
        neighbours(torch.zeros(4, 2), torch.zeros(1, 3), k=1)


# ------------------------------------------------------------------------------------------------ maps


def test_a_plane_is_its_own_map(ppca):
    data = ppca.data(4000)
    found = latent_map(ppca.model, ppca.guide(), data)
    assert found.axes == ("z₁", "z₂")
    torch.testing.assert_close(found.mean, ppca.posterior_mean(data["x"]))
    for points in (found.posterior, found.prior):  # of an exact guide the aggregate posterior is the prior
        torch.testing.assert_close(points.T.cov(), torch.eye(2).double(), rtol=0, atol=0.1)


def test_a_linear_map_is_a_plane_in_the_latent_space():
    model, guide, _ = scaled()
    data = {"x": generate(model, 2000, mean=False)}
    found = latent_map(model, guide, data)
    z = encode(model, guide, data)["z"]
    torch.testing.assert_close(found.mean, found.plane.project(z))
    torch.testing.assert_close(found.plane.project(found.plane.lift(found.mean)), found.mean)
    lifted = found.plane.lift(found.mean)
    assert (lifted - z)[:, 0].abs().max() > 10 * (lifted - z)[:, 1].abs().max()  # the noisy dimension is left out


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_map_repeats_by_its_seed(method):
    model, guide, _ = scaled()
    data = {"x": generate(model, 40, mean=False)}
    one, same, other = (latent_map(model, guide, data, method=method, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.posterior, same.posterior)
    assert not torch.equal(one.posterior, other.posterior)
    assert one.mean.shape == one.prior.shape == (40, 2)


def test_a_map_of_one_level_under_a_condition(says):
    data = {"x": torch.randn(300, 2), "y": torch.arange(300.0)}
    found = latent_map(conditional, conditional_guide, data, site="z1")
    torch.testing.assert_close(found.mean, data["x"] + data["y"].unsqueeze(-1))
    torch.testing.assert_close(found.prior.std(0), torch.full((2,), math.sqrt(5)), rtol=0.15, atol=0)
    with says(PairError, "several latent sites"):
        latent_map(conditional, conditional_guide, data)


def test_a_map_without_a_prior(says):
    model, guide = VAE(priors.Flat(2), likelihoods.Normal(3), MLP(2, 3)), NormalGuide(MLP(3, 4))
    data = {"x": torch.randn(4, 3)}
    with says(PairError, "flat prior is improper"):
        latent_map(model, guide, data)
    assert latent_map(model, guide, data, prior=False).prior is None


# --------------------------------------------------------------------------------------------- errors


def test_an_unknown_site(ppca, says):
    with says(PairError, "no site 'y'", "'z', 'x'"):
        generate(ppca.model, 2, site="y")
    with says(PairError, "no site 'y'", "'z', 'x'"):
        decode(ppca.model, {"z": torch.zeros(2, 2).double()}, site="y")


def test_a_latent_that_the_model_lacks(ppca, says):
    with says(PairError, "no site 'code'", "'z', 'x'"):
        decode(ppca.model, {"code": torch.zeros(2, 2)})


def test_the_code_of_a_label_is_the_most_probable_one(ppca):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("k", dist.Categorical(logits=torch.tensor([0.0, 0.2, 0.1])))

    assert encode(ppca.model, guide, ppca.data(2))["k"].tolist() == [1, 1]


def test_a_distribution_without_a_mean(ppca, says):
    q = dist.TransformedDistribution(dist.Normal(0.0, 1.0), [dist.transforms.TanhTransform()])

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("k", q)

    with says(PairError, "site 'k'", "no mean in closed form", "mean=False"):
        encode(ppca.model, guide, ppca.data(2))
    assert encode(ppca.model, guide, ppca.data(2), mean=False)["k"].shape == (2,)


def test_an_interpolation_between_what_is_not_two_codes(ppca, says):
    with says(ShapeError, "two codes of equal shape at 'z'", "(2,) and (3,)"):
        interpolate(ppca.model, {"z": torch.zeros(2)}, {"z": torch.zeros(3)})
    with says(ShapeError, "site 'z' of the model has shape (10, 2)", "(10, 4, 2)", "z[0]"):
        interpolate(ppca.model, {"z": torch.zeros(4, 2)}, {"z": torch.zeros(4, 2)})


def test_codes_of_unequal_number(says):
    with says(ShapeError, "leading dimension"):
        decode(conditional, {"z1": torch.zeros(2, 2), "z2": torch.zeros(3, 2)})


def test_a_missing_condition(says):
    def labelled(y, *, size):
        return conditional(y=y, size=size)

    with says(PairError, "labelled wants 'y'"):
        generate(labelled, 3)
