"""Steps: what a compiled step changes, and when it changes nothing."""

import copy
import math
import warnings

import pytest
import torch

from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.compile.eager import Eager
from pyrovae.inference.training.split_steps import SplitSteps
from pyrovae.inference.training.steps import EagerUpdateSteps, FusedSteps, Graphs, Steps

B = 16


@pytest.mark.parametrize("compiled", [False, True])
def test_a_loss_that_is_not_finite_changes_nothing(compiled, captured_only, batch, build):
    svi = build("vae", optim=torch.optim.Adam, compile=compiled)
    svi.step(batch())
    before = copy.deepcopy(svi.optimizer.state_dict()), [p.clone() for p in svi.parameters]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Encountered NaN")
        loss = svi.step(batch(), kl_weight=float("inf"))
    assert not math.isfinite(loss)
    torch.testing.assert_close((svi.optimizer.state_dict(), svi.parameters), before)


@pytest.mark.slow
def test_small_steps_run_several_to_a_graph(same_noise, batch, build):
    data, order = {"x": batch(64)}, torch.randint(64, (66, B))
    losses = []
    for compiled in (False, True):
        svi = build("vae", optim=torch.optim.Adam, compile=compiled)
        svi.prepare(batch())
        torch.manual_seed(3)
        losses.append(svi.steps(data, 66, order=order))
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)


def test_the_update_is_in_the_graph_where_it_can_be(captured_only, batch, build):
    fused, outside = build("vae", optim=torch.optim.Adam), build("vae", optim=torch.optim.RMSprop)
    reduced = build("vae", optim=torch.optim.Adam, reduce=lambda gradients: None)
    for svi in (fused, outside, reduced):
        svi.step(batch())
    assert isinstance(fused._steps, FusedSteps)
    assert isinstance(outside._steps, EagerUpdateSteps)
    assert isinstance(reduced._steps, SplitSteps)
    assert (fused._steps.per_graph, outside._steps.per_graph) == (4, 1)


@pytest.mark.parametrize("compiled", [True, False])
def test_functions_of_a_pair_run_as_the_pair_does(compiled, models):
    model, guide = models["Model"](), models["Guide"]()
    outside = torch.nn.Linear(2, 2)
    graphs = Graphs(
        model, guide, compile=compiled, precision="fp32", loss=None, called=[outside, model.decoder, guide.loc]
    )
    run = graphs(lambda x: x + 1)
    assert isinstance(run, Compiled if compiled else Eager)
    assert run.programs == (model, guide)
    assert graphs._watch == [None, outside], "the pair's own modules are watched as such"


def test_gradients_are_reduced_before_the_update(batch, build):
    svi = build("vae", compile=False, reduce=lambda gradients: [g.zero_() for g in gradients])
    svi.prepare(batch())
    before = [p.clone() for p in svi.parameters]
    svi.step(batch())
    torch.testing.assert_close(list(svi.parameters), before)


def test_steps_without_their_methods_cannot_be_made():
    with pytest.raises(TypeError, match="advance"):
        Steps(None, None, None, None)
