"""Codes, reconstructions, generated data and paths, where all means are exact."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import decode, encode, generate, interpolate, lerp, reconstruct, slerp
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks import MLP

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


# ---------------------------------------------------------------------------------------------- paths


def test_lerp():
    start, end, weight = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0]), torch.tensor([0.0, 0.25, 1.0])
    assert lerp(start, end, weight).tolist() == [[1, 2], [1.5, 3], [3, 6]]
    assert lerp(torch.zeros(2, 3), torch.ones(2, 3), weight).shape == (3, 2, 3)


def test_slerp_of_a_right_angle():
    weight = torch.linspace(0, 1, 4).double()
    path = slerp(torch.tensor([2.0, 0.0]).double(), torch.tensor([0.0, 2.0]).double(), weight)
    angle = weight * math.pi / 2
    torch.testing.assert_close(path, 2 * torch.stack([angle.cos(), angle.sin()], -1))


def test_slerp_keeps_the_norm_and_the_angular_speed():
    start, end = torch.nn.functional.normalize(torch.randn(2, 30).double(), dim=-1) * 5
    path = slerp(start, end, torch.linspace(0, 1, 11).double())
    torch.testing.assert_close(path.norm(dim=-1), torch.full((11,), 5.0).double())
    steps = torch.nn.functional.cosine_similarity(path[1:], path[:-1], dim=-1)
    torch.testing.assert_close(steps, steps[:1].expand(10))


@pytest.mark.parametrize("path", [lerp, slerp])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_paths_have_their_ends(path, dtype):
    start, end = torch.randn(2, 8, dtype=dtype) * torch.tensor([[1.0], [4.0]])
    points = path(start.to(dtype), end.to(dtype), torch.tensor([0.0, 1.0], dtype=dtype))
    torch.testing.assert_close(points, torch.stack([start, end]).to(dtype))


@pytest.mark.parametrize("factor", [1.0, 2.5, -1.0, 0.0])
def test_where_there_is_no_arc_slerp_is_finite_with_the_same_ends(factor):
    start, weight = torch.randn(6), torch.linspace(0, 1, 5)
    path = slerp(start, factor * start, weight)
    assert path.isfinite().all()
    torch.testing.assert_close(path[[0, -1]], torch.stack([start, factor * start]), rtol=1e-4, atol=1e-5)
    if factor:
        torch.testing.assert_close(path, lerp(start, factor * start, weight))


def test_an_interpolation_decodes_its_path(ppca):
    z = torch.randn(2, 2).double()
    x = interpolate(ppca.model, {"z": z[0]}, {"z": z[1]}, steps=5, path=lerp)
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


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ({"z": torch.zeros(2)}, {"z": torch.zeros(3)}),
        ({"z": torch.zeros(4, 2)}, {"z": torch.zeros(4, 2)}),
        ({"z": torch.zeros(2)}, {"w": torch.zeros(2)}),
    ],
)
def test_an_interpolation_between_what_is_not_two_codes(start, end, ppca, says):
    with says(ShapeError, "two codes of shape (2,)", "'z'", "z[0]"):
        interpolate(ppca.model, start, end)


def test_codes_of_unequal_number(says):
    with says(ShapeError, "leading dimension"):
        decode(conditional, {"z1": torch.zeros(2, 2), "z2": torch.zeros(3, 2)})


def test_a_missing_condition(says):
    def labelled(y, *, size):
        return conditional(y=y, size=size)

    with says(PairError, "labelled wants 'y'"):
        generate(labelled, 3)
