"""Optimizers, however they are named."""

import copy
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference import SVI
from pyrovae.inference.training.optimizers import Whole, check_optim, make_optimizer

OPTIMIZERS = {
    "class": torch.optim.Adam,
    "partial": partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1),
    "sgd": (torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "other": (torch.optim.RMSprop, {"lr": 1e-3}),
    "pyro": pyro.optim.Adam({"lr": 1e-2}),
    "clipped": pyro.optim.ClippedAdam({"lr": 1e-2, "clip_norm": 1.0}),
    "per-parameter": pyro.optim.Adam(lambda name: {"lr": 1e-2 if "decoder" in name else 1e-3}),
    "schedule": pyro.optim.ExponentialLR({"optimizer": torch.optim.Adam, "optim_args": {"lr": 1e-2}, "gamma": 0.9}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, same_noise, captured_only, build, take):
    eager, compiled = (take(build("vae", optim=copy.deepcopy(OPTIMIZERS[name]), compile=c), 4) for c in (False, True))
    assert compiled == pytest.approx(eager, rel=1e-5)


def test_settings_per_parameter_are_asked_for_by_name(captured_only, batch, build):
    svi = build("vae", optim=Whole(OPTIMIZERS["per-parameter"]))
    svi.prepare(batch())
    rates = {id(p): group["lr"] for group in svi.optimizer.param_groups for p in group["params"]}
    assert {rates[id(p)] for p in svi.model.parameters()} == {1e-2}
    assert {rates[id(p)] for p in svi.guide.parameters()} == {1e-3}


def test_an_instance_trains_its_own_parameters(captured_only, batch, models):
    model, guide = models["Model"](), models["Guide"]()
    svi = SVI(model, guide, torch.optim.Adam(guide.parameters()))
    before = copy.deepcopy(model.state_dict())
    with pytest.warns(UserWarning, match=r"lacks 4 parameters of the model, such as decoder\.0\.weight"):
        svi.step(batch())
    assert len(svi.parameters) == len(list(guide.parameters()))
    torch.testing.assert_close(dict(model.state_dict()), dict(before))


def test_fit_refuses_an_optimizer_that_lacks_parameters(table_pair, table, quick):
    model, guide = table_pair()
    line = r"Write optim=\(torch\.optim\.SGD, \{'lr': 0\.1\}\)"
    for own, lacks in (
        (model, r"lacks 4 parameters of the guide, such as encoder\.layers\.0\.weight, which"),
        (guide, r"lacks 5 parameters of the model, such as likelihood\.raw_scale, which"),
        (table_pair()[0], "lacks 4 parameters of the guide.* and 5 parameters of the model"),
    ):
        with pytest.raises(PairError, match=f"{lacks}.*{line}"):
            quick(model, guide, table(), epochs=1, optim=torch.optim.SGD(own.parameters(), lr=0.1))
    with pytest.raises(PairError, match="lacks 1 parameter of the model, such as likelihood"):
        quick(model, guide, table(), epochs=1, optim=lambda params: torch.optim.Adam([*params][:4] + [*params][5:]))


def test_a_complete_optimizer_trains_all_and_a_frozen_parameter_needs_none(table_pair, table, quick, weights, equal):
    model, guide = table_pair()
    optim = torch.optim.Adam([*model.parameters(), *guide.parameters()])
    before = weights(model, guide)
    quick(model, guide, table(), epochs=1, optim=optim)
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(model, guide), strict=True))
    guide.requires_grad_(False)
    frozen = weights(guide)
    quick(model, guide, table(), epochs=1, optim=torch.optim.Adam(model.parameters()))
    assert equal(frozen, weights(guide))


class Plain(torch.nn.Module):
    """A guide that is no PyroModule, and registers nothing."""

    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Linear(6, 4)

    def forward(self, x):
        loc, raw = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_plain_module_is_trained(compiled, table_pair, table, quick, weights):
    model, guide = table_pair()[0], Plain()
    before = weights(guide)
    quick(model, guide, table(), epochs=1, compile=compiled)
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(guide), strict=True))


def test_a_learning_rate_schedule_does_not_recompile(captured_only, same_noise, batch, build):
    results = []
    for compiled in (False, True):
        svi = build("vae", optim=(torch.optim.Adam, {"lr": 1e-2}), compile=compiled)
        svi.prepare(batch())
        schedule = torch.optim.lr_scheduler.ExponentialLR(svi.optimizer, 0.5)
        torch.manual_seed(1)
        results.append([])
        for _ in range(4):
            results[-1].append(svi.step(batch()))
            schedule.step()
    assert svi._steps.one.captures == 1
    assert results[0] == pytest.approx(results[1], rel=1e-5)


WEIGHT = torch.ones(2, requires_grad=True)


def test_a_schedule_of_pyros_is_followed(captured_only, batch, build):
    optim = copy.deepcopy(OPTIMIZERS["schedule"])
    svi = build("vae", optim=optim)
    svi.step(batch())
    optim.step()
    rates = {group["lr"] for one in optim.optim_objs.values() for group in one.optimizer.param_groups}
    assert list(rates) == pytest.approx([0.009])


@pytest.mark.parametrize("name", ["class", "partial", "sgd", "other", "pyro"])
def test_each_way_gives_a_torch_optimizer(name):
    optim = copy.deepcopy(OPTIMIZERS[name])
    optimizer = make_optimizer(Whole(optim) if name == "pyro" else optim, {WEIGHT: "w"})
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert optimizer.param_groups[0]["params"] == [WEIGHT]


def test_what_does_more_than_build_an_optimizer_is_kept():
    instance = torch.optim.Adam([WEIGHT])
    assert make_optimizer(instance, {}) is instance
    optim = copy.deepcopy(OPTIMIZERS["schedule"])
    assert make_optimizer(Whole(optim), {WEIGHT: "w"}) is optim


@pytest.mark.parametrize("optim", [1e-3, "adam", (torch.optim.Adam,)])
def test_what_is_no_optimizer(optim, says):
    with says(PairError, "optim requires a torch optimizer class", type(optim).__name__, "{'lr': 1e-3}"):
        check_optim(optim)
