"""What people write in their first pair: each message has the line to write instead."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import pyrovae
from pyrovae.errors import DataError, PairError, SettingError, ShapeError, SupportError
from pyrovae.inference import decode, evaluate, fit
from pyrovae.inference.pair import check_pair
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def test_a_value_above_the_maximum_of_a_count(model, guide, says):
    px = lambda loc: dist.Binomial(16 + 0 * loc, logits=loc).to_event(1)  # noqa: E731
    x = torch.ones(8, 3)
    x[2] = 21.0
    with says(SupportError, "Binomial at site 'x' requires values in {0, ..., 16}, got values from 21 to 21"):
        check_pair(partial(model, px=px), guide, {"x": x})
    several = lambda loc: dist.Binomial(torch.tensor([3.0, 4.0, 5.0]), logits=loc).to_event(1)  # noqa: E731
    with says(SupportError, "{0, ..., 3 to 5}"):
        check_pair(partial(model, px=several), guide, {"x": x})


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.tensor([0.0, 3.0, 16.0]), ("x / 16 ", "For counts use Binomial")),
        (torch.tensor([0.0, 2.5, 9.5]), ("x / 9.5 ", "or use Normal().")),
        (torch.tensor([-1.0, 0.0, 9.5]), ("(x - x.min()) / (x.max() - x.min())",)),
        (torch.tensor([0, 3, 255], dtype=torch.uint8), ("(pyrovae.data.Scale()), or use",)),
    ],
)
def test_data_beyond_a_bernoulli(x, words, says):
    for likelihood in (likelihoods.Bernoulli(3), likelihoods.ContinuousBernoulli(3)):
        with says(SupportError, *words):
            likelihood.check(x.expand(8, 3))


def test_a_distribution_of_torch_without_to_event(guide, batch, says):
    def of_torch(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", torch.distributions.Normal(torch.zeros(2), 1.0))
            return pyro.sample(
                "x", dist.Normal(z.sum(-1, keepdim=True).expand(*z.shape[:-1], 3), 1.0).to_event(1), obs=x
            )

    with says(ShapeError, "torch's Normal of batch shape (2,)", "Write pyro.distributions.Normal(...).to_event(1)"):
        check_pair(of_torch, guide, batch)


def test_a_decoder_with_too_few_outputs(encoder, batch, says):
    for shape, got in (((1, 1, 3), (1, 1, 3)), (3, 3)):
        likelihood = likelihoods.Normal(shape, "predicted")
        model = VAE(priors.StandardNormal(2), likelihood, MLP(2, got, (4,)))
        net, x = encoder(), batch["x"].reshape(8, *likelihood.event_shape)
        with says(ShapeError, "emits likelihood.params_shape", "MLP(latent_dim, likelihood.params_shape)"):
            check_pair(model, lambda x, net=net: net(x.flatten(1)), {"x": x})


def test_a_code_that_is_flattened_from_the_left(vae, encoder, batch, says):
    """Exercise 3 of notebook 2."""
    model = vae()
    net = model.decoder
    model.decoder = torch.nn.Sequential(FromTheLeft(), net)
    with says(PairError, "2 draws", "after site 'z'", "z.flatten(-2), not z.view(len(z), -1)"):
        check_pair(model, encoder(), batch)


class FromTheLeft(nn.Module):
    def forward(self, z):
        return z.view(len(z), -1)


def test_codes_without_a_name(vae, says):
    with says(DataError, "decode requires codes with the names", "got a Tensor", 'Write {"z": z}'):
        decode(vae(), torch.zeros(3, 2))


def test_a_class_in_place_of_its_object(guide, batch, says):
    for tool in (fit, evaluate, check_pair):
        with says(PairError, f"{tool.__name__} requires a program", "got the class VAE. Write VAE()."):
            tool(VAE, guide, batch)


def test_programs_that_torch_has_wrapped(vae, encoder, batch, says):
    with says(PairError, "got a DataParallel around it", "fit(..., devices=2)"):
        fit(nn.DataParallel(vae()), encoder(), batch)
    for wrapped in (torch.compile(vae()), torch.compile(lambda x=None, *, size=None: None)):
        with says(PairError, "torch.compile has wrapped", "fit(..., compile=True)"):
            check_pair(wrapped, encoder(), batch)


@pytest.mark.parametrize("transform", [lambda x: x > 0.5, lambda x: x.float(), torch.exp, lambda x: x / 255])
def test_a_transform_of_a_tensor(transform, vae, encoder, batch, says):
    with says(SettingError, "a dict of named tensors", 'lambda batch: {**batch, "x": f(batch["x"])}'):
        evaluate(vae(), encoder(), batch, transform=transform)


def test_a_loss_of_two_tensors(vae, encoder, batch, says):
    with says(PairError, "got MSELoss()", "likelihoods.Normal(shape)", "loss=ELBO()"):
        fit(vae(), encoder(), batch, loss=nn.MSELoss())


def test_a_name_of_a_subpackage(says):
    with says(AttributeError, "no attribute 'fit'", "fit, evaluate and all other tools in pyrovae.inference"):
        _ = pyrovae.fit
