"""Encoders and decoders as modules of tensors, torch programs and ONNX files."""

import sys

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.data import Binarize, Standardize
from pyrovae.errors import ExportError, MissingExtraError, PairError, ShapeError
from pyrovae.export import decoder, encoder, to_onnx, to_program
from pyrovae.guides import NormalGuide
from pyrovae.inference import decode, encode
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP, GatedMLP, SkipMLP

SIZES = (1, 4, 7)


def rows(tensors, size):
    return {name: tensor[:size] for name, tensor in tensors.items()}


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.fixture
def dense():
    """A dense pair on 5 numbers, with two latent dimensions."""

    def build(likelihood=None, network=MLP):
        likelihood = likelihood or likelihoods.Normal(5, scale=0.5)
        model = VAE(priors.StandardNormal(2), likelihood, network(2, likelihood.params_shape, (4,)))
        return model, NormalGuide(network(5, 4, (4,)))

    return build


def test_the_codes_are_those_of_encode(pair):
    """A flow's mean is the mean of random draws, so the image of the base's mean stands for it in an export."""
    part = encoder(pair.model, pair.guide, pair.batch)
    inferred = {name: tensor for name, tensor in pair.batch.items() if name in part.inputs}
    found = part(*inferred.values())
    assert set(part.outputs) == set(found)
    codes = encode(pair.model, pair.guide, inferred)
    for name, code in codes.items():
        assert found[name].shape == code.shape
        if not any(key.startswith(f"{name}.base") for key in found):
            close(found[name], code)


def test_the_means_are_those_of_decode(pair):
    part = decoder(pair.model, pair.guide, pair.batch)
    tensors = rows(part.example, 4)
    found = part(*tensors.values())
    codes = {name: tensor for name, tensor in tensors.items() if name in pair.latent}
    conditions = {name: tensor for name, tensor in tensors.items() if name not in pair.latent}
    close(found["x"], decode(pair.model, codes, given=conditions))


@pytest.mark.slow
def test_every_encoder_and_decoder_is_a_program_at_any_batch_size(pair):
    """Sentences alone are written by a loop that ends when all have ended."""
    to_program(encoder(pair.model, pair.guide, pair.batch))  # compares batches of 1, 7 and 13 data points
    part = decoder(pair.model, pair.guide, pair.batch)
    if type(pair.model).__name__ == "TextVAE":
        with pytest.raises(ExportError, match="cannot follow"):
            to_program(part)
    elif type(pair.model).__name__ == "NotAtRandom":
        with pytest.raises(ExportError, match="unused operations torch can remove"):
            to_program(part)
        to_program(decoder(pair.model.model, pair.guide.guide, pair.batch))
    else:
        to_program(part)


ONNX = ["bernoulli", "conv-bernoulli", "ladder-bottom-up", "ladder-top-down", "conv-ladder-top-down"]
ONNX += [
    "hierarchy-bottom-up",
    "hierarchy-top-down",
    "conditional-on-labels",
    "conditional-on-a-part",
    "semi-supervised",
]
ONNX += ["masked", "masked-table", "heterogeneous", "mixture-prior", "vamp-prior", "full-normal-guide", "autoencoder"]
ONNX += ["low-rank-normal-guide", "mixture-guide", "flow-guide", "flow-prior", "deep-markov-flow", "text-lstm"]


@pytest.mark.slow
@pytest.mark.parametrize("representative", ONNX, indirect=True)
def test_onnx_files_give_the_numbers_of_the_pair(representative, tmp_path):
    """Batches of 1, 4 and 7 data points through onnxruntime and NumPy alone."""
    pair = representative
    if type(pair.model).__name__ == "TextVAE":
        with pytest.raises(ExportError):
            to_onnx(tmp_path, pair.model, pair.guide, pair.batch)
        assert not list(tmp_path.iterdir())
        return
    runtime = pytest.importorskip("onnxruntime")
    paths = to_onnx(tmp_path, pair.model, pair.guide, pair.batch)
    parts = {"encoder": encoder(pair.model, pair.guide, pair.batch)}
    parts["decoder"] = decoder(pair.model, pair.guide, pair.batch)
    for name, part in parts.items():
        session = runtime.InferenceSession(paths[name])
        assert tuple(one.name for one in session.get_inputs()) == part.inputs
        assert tuple(one.name for one in session.get_outputs()) == part.outputs
        assert {one.shape[0] for one in session.get_inputs()} == {"batch"}
        for size in SIZES:
            tensors = rows(part.example, size)
            found = session.run(None, {key: tensor.numpy() for key, tensor in tensors.items()})
            for array, wanted in zip(found, part(*tensors.values()).values(), strict=True):
                np.testing.assert_allclose(array, wanted.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("network", [MLP, GatedMLP, SkipMLP])
def test_a_file_equals_the_pair_at_other_batch_sizes(dense, network, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    model, guide = dense(network=network)
    paths = to_onnx(tmp_path / "new", model, guide, {"x": torch.randn(3, 5)})
    assert sorted(path.name for path in paths.values()) == ["decoder.onnx", "encoder.onnx"]
    inward, outward = (runtime.InferenceSession(paths[name]) for name in ("encoder", "decoder"))
    for size in (1, 7, 20):
        x = torch.randn(size, 5)
        (z,) = inward.run(["z"], {"x": x.numpy()})
        code = encode(model, guide, {"x": x})["z"]
        np.testing.assert_allclose(z, code, atol=1e-5)
        (mean,) = outward.run(["x"], {"z": z})
        np.testing.assert_allclose(mean, decode(model, {"z": code}), atol=1e-5)


def test_the_outputs_are_the_parameters(dense):
    model, guide = dense()
    x = torch.randn(4, 5)
    found = encoder(model, guide, {"x": x})(x)
    q = guide.given(x).base_dist
    assert list(found) == ["z", "z.loc", "z.scale"]
    torch.testing.assert_close(found["z.loc"], q.loc)
    torch.testing.assert_close(found["z.scale"], q.scale)
    z = torch.randn(4, 2)
    out = decoder(model, guide, {"x": x})(z)
    torch.testing.assert_close(out["x.loc"], model.decoder(z))
    assert (out["x.scale"] == 0.5).all()


def test_a_program_is_saved_and_loaded_by_torch(dense, tmp_path):
    model, guide = dense()
    x = torch.randn(7, 5)
    part = encoder(model, guide, {"x": x})
    torch.export.save(to_program(part), tmp_path / "encoder.pt2")
    found = torch.export.load(tmp_path / "encoder.pt2").module()(x)
    assert list(found) == list(part.outputs)
    close(found, part(x))


def test_bytes_go_in(dense):
    model, guide = dense(likelihood=likelihoods.Bernoulli(5))
    x = torch.randint(2, 256, (4, 5), dtype=torch.uint8)
    part = encoder(model, guide, {"x": x})
    assert part.example["x"].dtype == torch.uint8
    assert torch.equal(part(x)["z"], encode(model, guide, {"x": x})["z"])
    assert torch.equal(to_program(part).module()(x)["z"], part(x)["z"])


@pytest.mark.parametrize("mode", ["dynamic", "static", "threshold"])
def test_a_binarisation_that_draws_becomes_its_probabilities(dense, mode):
    model, guide = dense(likelihood=likelihoods.Bernoulli(5))
    x = torch.randint(2, 256, (4, 5), dtype=torch.uint8)
    part = encoder(model, guide, {"x": x}, transform=Binarize(mode))
    level = x / 255
    close(part(x)["z"], encode(model, guide, {"x": level.round() if mode == "threshold" else level})["z"])


def test_the_columns_of_a_table_are_standardised_inside(dense):
    model, guide = dense()
    x = 100 + 30 * torch.randn(20, 5)
    transform = Standardize.of(x)
    part = encoder(model, guide, {"x": x}, transform=transform)
    found = to_program(part).module()(x)["z"]
    close(found, encode(model, guide, {"x": x}, transform=transform)["z"])


def test_one_data_point_suffices_as_an_example(dense):
    model, guide = dense()
    x = torch.randn(9, 5)
    close(to_program(encoder(model, guide, {"x": x[:1]})).module()(x)["z"], encode(model, guide, {"x": x})["z"])


def test_a_transform_may_be_a_module_and_make_tensors(dense):
    """The inputs are what goes into the transform, not what comes out."""
    model, guide = dense()

    class Join(nn.Module):
        def forward(self, batch):
            return {"x": torch.cat([batch["left"], batch["right"]], -1)}

    batch = {"left": torch.randn(6, 2), "right": torch.randn(6, 3)}
    part = encoder(model, guide, batch, transform=Join())
    assert part.inputs == ("left", "right")
    close(to_program(part).module()(*batch.values())["z"], encode(model, guide, batch, transform=Join())["z"])
    assert decoder(model, guide, batch, transform=Join()).inputs == ("z",)


def test_the_module_owns_a_copy(dense):
    model, guide = dense()
    model.train(), guide.train()
    x = torch.randn(3, 5)
    part = encoder(model, guide, {"x": x})
    before = part(x)["z"]
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.zero_()
    assert torch.equal(part(x)["z"], before)
    assert model.training
    assert guide.training
    assert all(parameter.requires_grad for parameter in guide.parameters())


def test_the_random_state_is_left_alone(dense):
    model, guide = dense()
    before = torch.get_rng_state()
    decoder(model, guide, {"x": torch.randn(3, 5, generator=torch.Generator().manual_seed(0))})
    assert torch.equal(torch.get_rng_state(), before)


def test_a_label_that_the_guide_infers_is_an_output_alone(representative):
    pair = representative
    part = encoder(pair.model, pair.guide, pair.batch)
    assert not set(part.inputs) & set(part.outputs)


# ------------------------------------------------------------------------------------------ a user's own programs


def own(net, latent):
    """A pair of plain functions in the style of Pyro's examples, around networks that no module owns."""
    out = nn.Linear(2, 5)

    def model(x=None, *, size=None):
        pyro.module("decoder", out)
        with pyro.plate("data", len(x) if x is not None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(out(z), 1.0).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", net)
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("z", latent(net(x)).to_event(1))

    return model, guide


def test_plain_functions_are_exported():
    net = nn.Linear(5, 2)
    model, guide = own(net, lambda loc: dist.Laplace(loc, 1.0))
    x = torch.randn(6, 5)
    part = encoder(model, guide, {"x": x})
    program = to_program(part)
    for size in SIZES:
        found = program.module()(x[:size])
        close(found["z.loc"], net(x[:size]).detach())
        assert (found["z.scale"] == 1).all()


def test_shared_latents_have_no_batch_dimension():
    """A latent outside the plate is one vector, which the decoder takes as it is."""

    def model(x=None, *, size=None):
        w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        with pyro.plate("data", len(x) if x is not None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(5), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z + w, 1.0).to_event(1), obs=x)

    def guide(x):
        pyro.sample("w", dist.Normal(torch.ones(5), 1.0).to_event(1))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))

    x = torch.randn(6, 5)
    assert encoder(model, guide, {"x": x})(x)["w"].shape == (5,)
    part = decoder(model, guide, {"x": x})
    assert part.inputs == ("w", "z")
    found = to_program(part).module()(torch.ones(5), x[:4])
    close(found["x"], x[:4] + 1)


def test_inner_plates_come_after_the_data():
    def guide(x):
        with pyro.plate("data", len(x), dim=-1), pyro.plate("parts", 3, dim=-2):
            pyro.sample("z", dist.Normal(x.T, 1.0))

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if x is not None else size, dim=-1):
            with pyro.plate("parts", 3, dim=-2):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z.T, 1.0).to_event(1), obs=x)

    x = torch.randn(6, 3)
    found = to_program(encoder(model, guide, {"x": x})).module()(x[:4])
    assert torch.equal(found["z"], x[:4])
    assert torch.equal(found["z.loc"], x[:4])
    assert torch.equal(to_program(decoder(model, guide, {"x": x})).module()(x[:2])["x"], x[:2])


# ------------------------------------------------------------------------------------------------------- errors


def test_a_distribution_without_a_mean(says):
    model, guide = own(nn.Linear(5, 2), lambda loc: dist.Cauchy(loc, 1.0))
    with says(ExportError, "site 'z'", "mean"):
        encoder(model, guide, {"x": torch.randn(6, 5)})


def test_a_transformed_distribution_has_no_mean(says):
    flip = dist.transforms.SigmoidTransform()
    model, guide = own(nn.Linear(5, 2), lambda loc: dist.TransformedDistribution(dist.Normal(loc, 1.0), [flip]))
    with says(ExportError, "site 'z'", "closed form"):
        encoder(model, guide, {"x": torch.randn(6, 5)})


def test_random_numbers_of_the_program_itself(says):
    model, guide = own(nn.Linear(5, 2), lambda loc: dist.Normal(loc + torch.rand(2), 1.0))
    with says(ExportError, "random numbers", "rand"):
        to_program(encoder(model, guide, {"x": torch.randn(6, 5)}))


def test_a_program_that_looks_at_values(says):
    model, guide = own(nn.Linear(5, 2), lambda loc: dist.Normal(loc if loc.sum() > 0 else -loc, 1.0))
    with says(ExportError, "values", "loc.sum()", "test_export.py"):
        to_program(encoder(model, guide, {"x": torch.randn(6, 5)}))


def test_a_program_of_one_batch_size(says):
    model, guide = own(nn.Linear(5, 2), lambda loc: dist.Normal(loc * int(loc.shape[0]), 1.0))
    with says(ExportError, "size of the batch"):
        to_program(encoder(model, guide, {"x": torch.randn(6, 5)}))


def test_other_numbers_are_refused_with_the_difference(dense, says):
    model, guide = dense()
    with says(ExportError, "difference of", "'z'", "1e-05"):
        part = encoder(model, guide, {"x": torch.randn(3, 5)})
        run = part.run
        part.run = lambda *args: {
            name: tensor + (0 if torch.compiler.is_exporting() else 0.5) for name, tensor in run(*args).items()
        }
        to_program(part)


def test_the_batch_is_that_of_the_pair(dense, says):
    model, guide = dense()
    with pytest.raises(PairError):
        encoder(model, guide, {"x": torch.randn(0, 5)})
    part = encoder(model, guide, {"x": torch.randn(3, 5)})
    with says(ShapeError, "requires x", "got 2 tensors"):
        part(torch.randn(3, 5), torch.randn(3, 5))


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_the_extra_is_named(dense, says, monkeypatch, tmp_path, package):
    monkeypatch.setitem(sys.modules, package, None)
    with says(MissingExtraError, package, "pip install 'pyrovae[export]'"):
        to_onnx(tmp_path, *dense(), {"x": torch.randn(3, 5)})


@pytest.mark.slow
def test_an_operation_without_an_onnx_form_is_named_and_nothing_is_written(says, tmp_path):
    pytest.importorskip("onnxscript")
    model, guide = own(nn.Linear(5, 2), lambda loc: dist.Normal(torch.special.bessel_j0(loc), 1.0))
    batch = {"x": torch.randn(6, 5)}
    to_program(encoder(model, guide, batch))
    with says(ExportError, "ONNX has no form", "bessel_j0"):
        to_onnx(tmp_path / "new", model, guide, batch)
    assert not list(tmp_path.iterdir())
