"""Particles: S draws for each data point, scored."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference.objectives.particles import data_plate, draw_particles, sampled_elbo
from pyrovae.inference.pair.handlers import ChangeDraws
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.inference.pair.tracing import traces


@pytest.mark.parametrize("num_particles", [1, 4])
def test_their_scores_are_those_of_the_pair(ppca, num_particles):
    data, guide = ppca.data(5), ppca.guide(0.3, 1.2)
    torch.manual_seed(1)
    particles = draw_particles(partial(ppca.model, data["x"]), partial(guide, data["x"]), num_particles, 1)
    torch.manual_seed(1)
    terms = log_terms(ppca.model, guide, data, num_particles)
    assert particles.shape == (num_particles, 5)
    assert particles.full_size == 5
    assert particles.free is None
    torch.testing.assert_close(particles.terms.log_weight, terms.log_weight)
    torch.testing.assert_close(sampled_elbo(particles), terms.log_weight.mean(0))


def test_handlers_see_the_draws_of_one_program(ppca):
    x = ppca.data(3)["x"]
    zero = ChangeDraws(lambda site: torch.zeros_like(site["value"]))
    particles = draw_particles(partial(ppca.model, x), partial(ppca.guide(), x), 2, 1, in_guide=zero)
    assert (particles.pair.guide.nodes["z"]["value"] == 0).all()
    assert (particles.pair.model.nodes["z"]["value"] == 0).all()
    particles = draw_particles(partial(ppca.model, x), partial(ppca.guide(), x), 2, 1, in_model=zero)
    assert (particles.pair.guide.nodes["z"]["value"] != 0).all()
    assert (particles.pair.model.nodes["z"]["value"] == 0).all()


def test_the_plate_and_all_the_data(says):
    def model(size):
        with pyro.plate("data", 20, subsample_size=size, dim=-1):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    run = partial(model, 5)
    assert data_plate(traces(run, run)) == (5, 20)

    def bare():
        pyro.sample("z", dist.Normal(0.0, 1.0))

    with says(PairError, 'pyro.plate("data"', "dim=-1"):
        data_plate(traces(bare, bare))
