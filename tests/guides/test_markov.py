"""Guides of the deep Markov model: the rate of a draw, flows, and the inputs of a step."""

import pytest
import torch

from pyrovae.errors import ShapeError
from pyrovae.guides import Combiner, FlowCombiner, MarkovGuide
from pyrovae.inference import ELBO
from pyrovae.models import DeepMarkovModel, GatedTransition, likelihoods
from pyrovae.networks.dense import MLP
from pyrovae.networks.recurrent import BackwardRNN

DIM, CONTEXT = 3, 4


@pytest.mark.parametrize("flow", [False, True])
def test_the_rate_of_a_draw_has_the_mean_of_the_sampled_one(flow):
    """The rate is in closed form step by step; a flow has no closed form, so its rate is sampled."""
    model = DeepMarkovModel(GatedTransition(DIM, 5), likelihoods.Bernoulli(6), MLP(DIM, 6, (7,)), DIM)
    combiner = Combiner(DIM, CONTEXT)
    if flow:
        combiner = FlowCombiner(combiner, DIM, CONTEXT, 2, (5,))
    guide = MarkovGuide(BackwardRNN(6, CONTEXT), combiner, DIM)
    batch = {"x": torch.rand(4, 5, 6).round(), "within": torch.arange(5) < torch.tensor([5, 1, 3, 2])[:, None]}
    losses = []
    for analytic in (True, False):
        torch.manual_seed(0)
        losses.append(ELBO(4_000, analytic=analytic).loss(model, guide, **batch).item())
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert (losses[0] == losses[1]) == flow


def test_a_step_knows_where_the_path_is_and_what_comes():
    combiner = Combiner(DIM, CONTEXT)
    z, h = torch.randn(2, 5, DIM), torch.randn(5, CONTEXT)
    step = combiner(z, h)
    assert (step.batch_shape, step.event_shape) == ((2, 5), (DIM,))
    assert not torch.allclose(step.mean, combiner(z + 1, h).mean)
    assert not torch.allclose(step.mean, combiner(z, h + 1).mean)


def test_flows_want_layers_as_wide_as_z(says):
    with says(ShapeError, "requires layers at least as wide", "hidden=(2,)"):
        FlowCombiner(Combiner(DIM, CONTEXT), DIM, CONTEXT, 1, (2,))
