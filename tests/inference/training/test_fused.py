"""The fused update: on the optimizer's own state, and only where the loss is finite."""

import copy

import pytest
import torch

from pyrovae.inference.training.fused import FusedUpdate, Settings, members_of

YES, NO = torch.tensor(True), torch.tensor(False)


@pytest.fixture
def optimizer():
    return torch.optim.Adam([torch.ones(3), torch.ones(2, 2)], lr=0.1)


@pytest.fixture
def update(optimizer):
    return FusedUpdate(members_of(optimizer, parameters_of(optimizer)))


def parameters_of(optimizer):
    return optimizer.param_groups[0]["params"]


def gradients(optimizer, *values):
    pairs = zip(parameters_of(optimizer), values, strict=True)
    return {id(p): torch.full_like(p, value) for p, value in pairs if value is not None}


def test_the_flag_decides(update, optimizer):
    update.settings()
    before = copy.deepcopy(optimizer.state_dict())
    update.update(gradients(optimizer, 1.0, 1.0), NO)
    torch.testing.assert_close(optimizer.state_dict(), before)
    assert all((p == 1).all() for p in parameters_of(optimizer))
    update.update(gradients(optimizer, 1.0, 1.0), YES)
    assert all((p < 1).all() for p in parameters_of(optimizer))


def test_a_parameter_without_a_gradient_stays_and_is_not_counted(update, optimizer):
    update.settings()
    update.update(gradients(optimizer, None, 1.0), YES)
    first, second = parameters_of(optimizer)
    assert (first == 1).all()
    assert (second < 1).all()
    assert [optimizer.state[p]["step"].item() for p in (first, second)] == [0, 1]


def test_a_loaded_state_is_copied_into_the_same_tensors(update, optimizer):
    update.settings()
    update.update(gradients(optimizer, 1.0, 1.0), YES)
    state = copy.deepcopy(optimizer.state_dict())
    first = parameters_of(optimizer)[0]
    held = optimizer.state[first]["exp_avg"]
    update.update(gradients(optimizer, 1.0, 1.0), YES)
    assert not torch.equal(held, state["state"][0]["exp_avg"])
    optimizer.load_state_dict(state)
    update.settings()
    assert optimizer.state[first]["exp_avg"] is held
    assert torch.equal(held, state["state"][0]["exp_avg"])


def test_learning_rates_are_read_at_each_call(update, optimizer):
    settings = update.settings()
    assert isinstance(settings, Settings)
    optimizer.param_groups[0]["lr"] = 0.0
    assert update.settings() == settings
    update.update(gradients(optimizer, 1.0, 1.0), YES)
    assert all((p == 1).all() for p in parameters_of(optimizer))
    optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    update.settings()
    update.update(gradients(optimizer, 1.0, 1.0), YES)
    assert all((p < 1).all() for p in parameters_of(optimizer))


def test_optimizers_without_a_fused_update():
    def covered(optimizer, *parameters):
        return FusedUpdate.covers(members_of(optimizer, parameters))

    one, apart = torch.ones(2), [torch.ones(2), torch.ones(2, device="meta")]
    assert covered(torch.optim.Adam([one]), one)
    assert not covered(torch.optim.RMSprop([one]), one)
    assert not covered(torch.optim.Adam([one], amsgrad=True), one)
    assert not covered(torch.optim.Adam([one]))
    assert not covered(torch.optim.Adam(apart), *apart)
    itself = torch.zeros(()).expand(3)
    assert not covered(torch.optim.Adam([itself]), itself), "its elements share memory"


def test_further_parameters_leave_graphs_valid(update, optimizer):
    before = update.settings()
    further = torch.optim.Adam([torch.ones(4)], lr=0.2)
    update.extend(members_of(further, further.param_groups[0]["params"]))
    assert update.settings().values[:1] == before.values
    optimizer.param_groups[0]["betas"] = (0.5, 0.9)
    assert before.values[0] not in update.settings().values


def test_schedulers_are_told_of_a_step(update, optimizer):
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    update.stepped()
    schedule.step()  # would warn, had no step been taken
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
