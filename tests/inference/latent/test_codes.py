"""Codes, reconstructions and generated data, where all means are exact."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.data import Binarize, Scale
from pyrovae.errors import PairError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import (
    decode,
    dimension_rates,
    encode,
    evaluate,
    features,
    generate,
    latent_map,
    posterior,
    reconstruct,
    traverse,
)
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


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

    monkeypatch.setattr("pyrovae.inference.latent.codes.ROWS", 4)
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


def test_a_hierarchy_is_encoded_from_the_top(conditional, conditional_guide):
    x, y = torch.randn(5, 2), torch.arange(5.0)
    codes = encode(conditional, conditional_guide, {"x": x, "y": y})
    torch.testing.assert_close(codes, {"z2": x, "z1": x + y.unsqueeze(-1)})


def test_a_reconstruction_keeps_its_condition(conditional, conditional_guide):
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


def test_levels_that_are_left_out_are_drawn_from_the_prior(conditional):
    z2, y = torch.full((4000, 2), 3.0), torch.zeros(4000)
    x = decode(conditional, {"z2": z2}, given={"y": y})
    assert x.mean().item() == pytest.approx(6, abs=0.1)
    assert x.std().item() == pytest.approx(1, abs=0.05)


def test_generation_under_a_condition(conditional):
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
    monkeypatch.setattr("pyrovae.inference.latent.codes.ROWS", 4)
    x = torch.randn(6, 2)
    codes = encode(plated, plated_guide, {"x": x})
    torch.testing.assert_close(codes["u"], x[:, :1] * torch.arange(1.0, 5.0))
    torch.testing.assert_close(reconstruct(plated, plated_guide, {"x": x}), x + 10 * x[:, :1])
    walk = traverse(plated, plated_guide, {"x": x}, latent="u", code={"z": x[0]})
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
    monkeypatch.setattr("pyrovae.inference.latent.codes.ROWS", 4)
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
    assert latent_map(shared_weights, shared_guide, data, latent="z").prior.shape == (6, 2)


def test_a_reconstruction_of_another_observed_site():
    def model(x=None, c=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("c", dist.Normal(3 * z, 1.0).to_event(1), obs=c)
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x, 0.1).to_event(1))

    data = {"x": torch.randn(5, 2), "c": torch.full((5, 2), 9.0)}
    assert torch.equal(reconstruct(model, guide, data), data["x"])
    assert torch.equal(reconstruct(model, guide, data, site="c"), 3 * data["x"])  # it is decoded, not given


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


def test_codes_of_unequal_number(says, conditional):
    with says(ShapeError, "leading dimension"):
        decode(conditional, {"z1": torch.zeros(2, 2), "z2": torch.zeros(3, 2)})


def test_a_missing_condition(says, conditional):
    def labelled(y, *, size):
        return conditional(y=y, size=size)

    with says(PairError, "labelled requires 'y'"):
        generate(labelled, 3)


TOOLS = {
    "encode": lambda *pair: encode(*pair)["z"],
    "drawn codes": lambda *pair: encode(*pair, mean=False)["z"],
    "reconstruct": lambda *pair: reconstruct(*pair),
    "traverse": lambda *pair: traverse(*pair).x,
    "latent_map": lambda *pair: latent_map(*pair).mean,
    "dimension_rates": lambda *pair: dimension_rates(*pair)["z"],
    "features": lambda *pair: features(*pair),
    "evaluate": lambda *pair: evaluate(*pair, num_samples=3).per_datum["elbo"],
    "posterior": lambda *pair: posterior(*pair, 3).latents["z"],
}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_bytes_are_scaled_by_default(tool):
    model = VAE(priors.StandardNormal(3), likelihoods.Normal((1, 4, 4)), MLP(3, (1, 4, 4), [5]))
    guide = NormalGuide(MLP((1, 4, 4), 6, [5]))
    data = {"x": torch.randint(256, (7, 1, 4, 4), dtype=torch.uint8)}
    assert torch.equal(tool(model, guide, data), tool(model, guide, Scale()(data)))


def test_a_random_transform_of_a_reconstruction_is_drawn_once_under_the_seed():
    """The model is given the mask that the guide saw; the global random state is left alone."""
    seen = []

    def model(x=None, mask=None, *, size=None):
        seen.append(mask)
        with pyro.plate("data", size or len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1).to_event(1))
            return pyro.sample("x", dist.Normal(z, 1).to_event(1), obs=x)

    def guide(x, mask):
        seen.append(mask)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x * mask, 1).to_event(1))

    def masked(batch):
        return {**batch, "mask": torch.rand(batch["x"].shape).round()}

    data, before = {"x": torch.rand(9, 2)}, torch.get_rng_state()
    first = reconstruct(model, guide, data, transform=masked, seed=1)
    assert torch.equal(seen[-1], seen[-2])
    assert torch.equal(first, data["x"] * seen[-1])
    assert torch.equal(first, reconstruct(model, guide, data, transform=masked, seed=1))
    assert not torch.equal(first, reconstruct(model, guide, data, transform=masked, seed=2))
    assert torch.equal(before, torch.get_rng_state())


def test_the_site_of_a_reconstruction(ppca, says):
    data = ppca.data(3)
    codes = reconstruct(ppca.model, ppca.guide(), data, site="z")
    assert torch.equal(codes, encode(ppca.model, ppca.guide(), data)["z"])
    with says(PairError, "no site 'w'", "'z', 'x'"):
        reconstruct(ppca.model, ppca.guide(), data, site="w")


def test_a_random_binarisation_follows_the_seed():
    """The guide's batch under `Binarize("dynamic")` depends on the seed, and not on the global random state."""
    model = VAE(priors.StandardNormal(3), likelihoods.Bernoulli((1, 4, 4)), MLP(3, (1, 4, 4), [5]))
    guide, seen = NormalGuide(MLP((1, 4, 4), 6, [5])), []
    guide.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    data, dynamic = {"x": torch.randint(256, (7, 1, 4, 4), dtype=torch.uint8)}, Binarize("dynamic")
    before = torch.get_rng_state()
    first = reconstruct(model, guide, data, transform=dynamic, seed=1)
    batch = {"x": seen[-1]}
    assert set(batch["x"].unique().tolist()) == {0, 1}
    assert torch.equal(first, reconstruct(model, guide, batch, seed=1))  # what was encoded is what was decoded
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(1)
    assert torch.equal(first, reconstruct(model, guide, data, transform=dynamic, seed=1))
    assert not torch.equal(first, reconstruct(model, guide, data, transform=dynamic, seed=2))
