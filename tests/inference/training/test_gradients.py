"""The loss and its gradients, against autograd and numbers by hand."""

import math

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO

from pyrovae.inference import ELBO
from pyrovae.inference.pair.contract import local_params
from pyrovae.inference.training.gradients import LossGradients, clipped, is_finite, reported


def quadratic(model, guide, w, unused=None):
    return ((w - 1) ** 2).sum()


def test_the_gradients_are_autograds_and_grad_is_left_alone():
    w, unused = torch.tensor([3.0, 0.0], requires_grad=True), torch.zeros(1, requires_grad=True)
    w.grad = torch.tensor([7.0, 7.0])
    loss, gradients = LossGradients(quadratic, [w, unused])(None, None, (w,), {})
    assert loss == 5
    assert not loss.requires_grad
    assert gradients[0].tolist() == [4.0, -2.0]
    assert gradients[1] is None
    assert w.grad.tolist() == [7.0, 7.0]
    assert LossGradients(quadratic, [w]).value(None, None, (w,), {}) == 5


@pytest.mark.parametrize("loss", [Trace_ELBO(), ELBO()])
def test_the_gradients_of_a_pair(loss, models, batch):
    model, guide = models["Model"](), models["Guide"]()
    parameters = [*model.parameters(), *guide.parameters()]
    with local_params(model, guide):
        loss.differentiable_loss(model, guide, batch())  # an objective learns the layout
        torch.manual_seed(1)
        loss.differentiable_loss(model, guide, batch()).backward()
        wanted = [p.grad for p in parameters]
        torch.manual_seed(1)
        value, gradients = LossGradients(loss, parameters)(model, guide, (batch(),), {})
    torch.testing.assert_close(gradients, wanted)
    assert value.dim() == 0


def test_an_objective_counts_its_gradients_and_not_its_values(models, batch):
    model, guide, objective = models["Model"](), models["Guide"](), ELBO()
    both = LossGradients(objective, list(model.parameters()))
    with local_params(model, guide):
        both.value(model, guide, (batch(),), {})
        assert objective.step == 0
        both(model, guide, (batch(),), {})
    assert objective.step == 1


def test_clipping_bounds_the_joint_norm():
    gradients = [torch.tensor([3.0, 0.0]), None, torch.tensor([[4.0]])]
    assert clipped(gradients, None) is gradients
    small = clipped(gradients, 1.0)
    assert small[1] is None
    norm = torch.cat([small[0], small[2].flatten()]).norm()
    assert norm.item() == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(small[0], gradients[0] / 5, rtol=1e-5, atol=1e-6)
    assert torch.equal(clipped(gradients, 100.0)[0], gradients[0])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_finite(bad):
    assert is_finite(torch.tensor([1.0, 2.0]))
    assert is_finite((torch.tensor(1.0), torch.tensor([2.0])))
    assert not is_finite(torch.tensor([1.0, bad]))
    assert not is_finite([torch.tensor(1.0), torch.tensor([2.0, bad])])


def test_losses_are_reported_as_pyro_does():
    assert reported(torch.tensor(2.5)) == 2.5
    assert isinstance(reported(torch.tensor(2.5)), float)
    assert reported((torch.tensor(1.0), torch.tensor(2.0))) == (1.0, 2.0)
    with pyro.validation_enabled(True), pytest.warns(UserWarning, match="NaN"):
        assert math.isnan(reported(torch.tensor(math.nan)))
