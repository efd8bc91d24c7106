"""Weights of another architecture, kind or type are refused, and change nothing."""

import pyro
import pytest
import torch
from torch import nn

from pyrovae.errors import CheckpointError
from pyrovae.guides import NormalGuide
from pyrovae.inference import load_weights
from pyrovae.inference.training.checkpoint import save
from pyrovae.inference.training.pair_weights import restore, weights
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def pair(hidden=4, latent=2):
    model = VAE(priors.StandardNormal(latent), likelihoods.Normal(3), MLP(latent, 3, (hidden,)))
    return model, NormalGuide(MLP(3, 2 * latent, (hidden,)))


@pytest.fixture
def run(tmp_path):
    """A run folder with the checkpoint of a pair."""
    save(tmp_path / "checkpoint.pt", {"weights": weights(*pair()), "best": None})
    return tmp_path


def test_another_architecture(run, says):
    words = ["another architecture", "VAE", "decoder.layers.0.weight", "(5, 2)", "(4, 2)", "config.json"]
    with says(CheckpointError, *words):
        load_weights(*pair(hidden=5), run)


def test_a_missing_and_an_extra_parameter(run, says):
    model, guide = pair()
    del model.likelihood.raw_scale
    model.extra = nn.Parameter(torch.zeros(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with says(CheckpointError, "likelihood.raw_scale is not in this one", "extra is missing in the checkpoint"):
        load_weights(model, guide, run)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_refused_checkpoint_changes_no_weight(run):
    """The model fits, the guide does not: neither is touched."""
    model, _ = pair()
    guide = NormalGuide(MLP(3, 4, (9,)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        load_weights(model, guide, run)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_another_number_of_modules(run, says):
    model, _ = pair()
    with says(CheckpointError, "2 module(s)", "has 1"):
        load_weights(model, lambda x: None, run)


def test_parameters_that_pyros_store_lacks(says):
    def program(x):
        return None

    state = {"modules": [], "store": {"loc": torch.zeros(3)}}
    with says(CheckpointError, "'loc'", "(3,)", "does not exist", "check_pair"):
        restore(program, program, state)
    pyro.param("loc", torch.zeros(4))
    with says(CheckpointError, "'loc'", "(3,)", "(4,)"):
        restore(program, program, state)
