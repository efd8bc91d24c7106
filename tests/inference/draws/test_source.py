"""A model as a source of draws, and a model that does not generate."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference import posterior_predictive
from pyrovae.inference.draws.source import Source


def test_a_source_draws_and_predicts():
    """Both methods are abstract."""
    with pytest.raises(TypeError, match=r"draw.*predict"):
        Source(lambda: None, 1, 3, {}, {})


def test_a_model_that_does_not_generate(ppca, says):
    def model(x):
        return ppca.model(x)

    with says(PairError, "'x'", "default"):
        posterior_predictive(model, ppca.guide(), ppca.data(2), 3)

    def silent(x=None, *, size=None):
        if x is not None:
            return ppca.model(x)
        with pyro.plate("data", size, dim=-1):
            return pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))

    with says(PairError, "no site 'x'", "'z'"):
        posterior_predictive(silent, ppca.guide(), ppca.data(2), 3)
