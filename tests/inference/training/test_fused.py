"""The fused update: on the optimizer's own state, and only where the loss is finite."""

import copy

import pyro
import pytest
import torch

from pyrovae.inference.training.fused import FusedUpdate, Settings

YES, NO = torch.tensor(True), torch.tensor(False)


@pytest.fixture
def update():
    parameters = [torch.ones(3), torch.ones(2, 2)]
    return FusedUpdate(torch.optim.Adam(parameters, lr=0.1), parameters)


def parameters_of(update):
    return update.optimizer.param_groups[0]["params"]


def test_the_flag_decides(update):
    update.settings()
    before = copy.deepcopy(update.optimizer.state_dict())
    update.update([torch.ones(3), torch.ones(2, 2)], NO)
    torch.testing.assert_close(update.optimizer.state_dict(), before)
    assert all((p == 1).all() for p in parameters_of(update))
    update.update([torch.ones(3), torch.ones(2, 2)], YES)
    assert all((p < 1).all() for p in parameters_of(update))


def test_a_parameter_without_a_gradient_stays_and_is_not_counted(update):
    update.settings()
    update.update([None, torch.ones(2, 2)], YES)
    first, second = parameters_of(update)
    assert (first == 1).all()
    assert (second < 1).all()
    assert [update.optimizer.state[p]["step"].item() for p in (first, second)] == [0, 1]


def test_a_loaded_state_is_copied_into_the_same_tensors(update):
    update.settings()
    update.update([torch.ones(3), torch.ones(2, 2)], YES)
    state = copy.deepcopy(update.optimizer.state_dict())
    first = parameters_of(update)[0]
    held = update.optimizer.state[first]["exp_avg"]
    update.update([torch.ones(3), torch.ones(2, 2)], YES)
    assert not torch.equal(held, state["state"][0]["exp_avg"])
    update.optimizer.load_state_dict(state)
    assert update.optimizer.state[first]["exp_avg"] is held
    assert torch.equal(held, state["state"][0]["exp_avg"])


def test_learning_rates_are_read_at_each_call(update):
    settings = update.settings()
    assert isinstance(settings, Settings)
    update.optimizer.param_groups[0]["lr"] = 0.0
    assert update.settings() == settings
    update.update([torch.ones(3), torch.ones(2, 2)], YES)
    assert all((p == 1).all() for p in parameters_of(update))
    update.optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    update.settings()
    update.update([torch.ones(3), torch.ones(2, 2)], YES)
    assert all((p < 1).all() for p in parameters_of(update))


def test_optimizers_without_a_fused_update():
    parameters = [torch.ones(2)]
    assert FusedUpdate.of(torch.optim.Adam(parameters), parameters) is not None
    assert FusedUpdate.of(torch.optim.RMSprop(parameters), parameters) is None
    assert FusedUpdate.of(torch.optim.Adam(parameters, amsgrad=True), parameters) is None
    assert FusedUpdate.of(torch.optim.Adam(parameters), []) is None
    assert FusedUpdate.of(pyro.optim.ClippedAdam({}), parameters) is None
    apart = [torch.ones(2), torch.ones(2, device="meta")]
    assert FusedUpdate.of(torch.optim.Adam(apart), apart) is None


def test_schedulers_are_told_of_a_step(update):
    schedule = torch.optim.lr_scheduler.ExponentialLR(update.optimizer, 0.5)
    update.stepped()
    schedule.step()  # would warn, had no step been taken
    assert update.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
