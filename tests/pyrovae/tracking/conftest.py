"""What the tests of the trackers share: small trainings, on images and on a table."""

import pytest
import torch

from pyrovae.data import Dataset
from pyrovae.guides import NormalGuide
from pyrovae.inference import fit
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def images(size):
    return {"x": torch.randint(0, 256, (size, 1, 6, 5), dtype=torch.uint8), "y": torch.arange(size) % 3}


@pytest.fixture
def train():
    """Train a new pair of small images; gives the history."""

    def train(callbacks, epochs=2, **options):
        torch.manual_seed(0)
        shape = (1, 6, 5)
        model = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(shape, relaxed=True), MLP(2, shape, (8,)))
        data = Dataset(images(60), images(20), images(10), "made", "made here")
        options = {"epochs": epochs, "batch_size": 30, "progress": False, "compile": False} | options
        return fit(model, NormalGuide(MLP(shape, 4, (8,))), data, callbacks=callbacks, **options)

    return train


@pytest.fixture(autouse=True)
def _no_servers(monkeypatch, tmp_path):
    """Nothing leaves this machine."""
    for name in ("MLFLOW_TRACKING_URI", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
