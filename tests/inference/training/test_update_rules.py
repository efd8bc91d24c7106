"""The update rules, each against torch's own optimizer over several steps."""

from functools import partial
from inspect import signature

import pytest
import torch
from pyro.optim.clipped_adam import ClippedAdam

from pyrovae.inference.training.fused import FusedUpdate, members_of
from pyrovae.inference.training.update_rules import RULES, FusedRule

OPTIMIZERS = {
    "adam": partial(torch.optim.Adam, lr=1e-2),
    "adam-decay": partial(torch.optim.Adam, lr=1e-2, weight_decay=0.1, betas=(0.8, 0.95)),
    "adamw": partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.3),
    "clipped": partial(ClippedAdam, lr=1e-2, clip_norm=0.7, lrd=0.9),
    "clipped-decay": partial(ClippedAdam, lr=1e-2, weight_decay=0.1),
    "sgd": partial(torch.optim.SGD, lr=1e-2),
    "momentum": partial(torch.optim.SGD, lr=1e-2, momentum=0.9, weight_decay=0.1),
    "nesterov": partial(torch.optim.SGD, lr=1e-2, momentum=0.9, nesterov=True),
}
if "centered_variance" in signature(ClippedAdam).parameters:  # from Pyro 1.9.2 on
    OPTIMIZERS["clipped-centred"] = partial(ClippedAdam, lr=1e-2, centered_variance=True, weight_decay=0.1)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_steps_are_torchs(make):
    ours, theirs = ([torch.ones(3, dtype=torch.float64), torch.full((2, 2), -0.5).double()] for _ in range(2))
    update, optimizer = FusedUpdate(members_of(make(ours), ours)), make(theirs)
    for _ in range(7):
        gradients = [torch.randn_like(parameter) for parameter in ours]
        update.settings()
        update.update({id(p): gradient for p, gradient in zip(ours, gradients, strict=True)}, torch.tensor(True))
        update.stepped()
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "covered"),
    [
        (torch.optim.Adam, True),
        (partial(torch.optim.Adam, amsgrad=True), False),
        (partial(torch.optim.Adam, maximize=True), False),
        (partial(torch.optim.Adam, eps=0.0), False),
        (partial(torch.optim.Adam, betas=(0.0, 0.9)), False),
        (ClippedAdam, True),
        (partial(torch.optim.SGD, lr=0.1), True),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.5), False),
        (partial(torch.optim.SGD, lr=0.1, maximize=True), False),
    ],
)
def test_settings_that_a_rule_covers(make, covered):
    optimizer = make([torch.ones(1)])
    assert RULES[type(optimizer)].fits(optimizer.param_groups[0]) == covered


def test_learning_rates_are_no_fixed_setting():
    for make in (torch.optim.Adam, torch.optim.SGD):
        one, other = (make([torch.ones(1)], lr=rate).param_groups[0] for rate in (0.1, 0.2))
        assert RULES[make].settings(one) == RULES[make].settings(other)


def test_a_rule_that_lacks_a_method_cannot_be_made():
    class Half(FusedRule):
        def fits(self, group):
            return True

    with pytest.raises(TypeError, match="factors"):
        Half()
