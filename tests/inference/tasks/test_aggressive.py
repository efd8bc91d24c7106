"""Aggressive updates: which parameters move at which step, and when the updates end."""

from functools import partial

import pytest
import torch

from pyrovae.errors import PairError, SettingError
from pyrovae.guides import NormalGuide
from pyrovae.inference import SVI, Aggressive, Release, fit
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


@pytest.fixture
def pair():
    likelihood = likelihoods.Normal(4, scale=0.5)
    return VAE(priors.StandardNormal(2), likelihood, MLP(2, 4, (5,))), NormalGuide(MLP(4, 4, (5,)))


def values(module):
    return torch.cat([p.detach().flatten().clone() for p in module.parameters()])


def test_the_guide_moves_at_every_step_and_the_model_at_one_of_several(pair):
    model, guide = pair
    x = torch.randn(8, 4)
    svi = SVI(model, guide, (Aggressive, {"model": model, "every": 3, "lr": 0.01}), compile=False)
    moved = {"model": [], "guide": []}
    for _ in range(6):
        before = values(model), values(guide)
        svi.step(x)
        moved["model"].append(not values(model).equal(before[0]))
        moved["guide"].append(not values(guide).equal(before[1]))
    assert moved == {"model": [False, False, True] * 2, "guide": [True] * 6}


def test_with_every_1_it_is_adam(pair):
    model, guide = pair
    start, x = (model.state_dict(), guide.state_dict()), torch.randn(8, 4)
    start = [{name: tensor.clone() for name, tensor in state.items()} for state in start]
    ends = []
    for optim in ((Aggressive, {"model": model, "every": 1, "lr": 0.01}), (torch.optim.Adam, {"lr": 0.01})):
        model.load_state_dict(start[0]), guide.load_state_dict(start[1])
        fit(model, guide, {"x": x}, epochs=3, batch_size=4, optim=optim, compile=False, progress=False)
        ends.append((values(model), values(guide)))
    torch.testing.assert_close(ends[0], ends[1])


def test_the_settings_are_those_of_adam(pair):
    model, guide = pair
    settings = {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1, "amsgrad": True}
    optimizer = Aggressive([*model.parameters(), *guide.parameters()], model=model, **settings)
    assert all(group[name] == value for group in optimizer.param_groups for name, value in settings.items())
    decoupled = Aggressive([*model.parameters()], model=model, decoupled_weight_decay=True)
    assert decoupled.held_back["decoupled_weight_decay"]
    with pytest.raises(TypeError, match="learning_rate"):
        Aggressive([*model.parameters()], model=model, learning_rate=0.1)


def test_a_resumed_run_goes_on_where_it_was(pair, tmp_path):
    model, guide = pair
    x = torch.randn(20, 4)
    start = [{name: tensor.clone() for name, tensor in part.state_dict().items()} for part in pair]
    release = partial(Release, model=model, guide=guide, data={"x": x})
    options = {"batch_size": 4, "compile": False, "progress": False, "scheduler": release}
    options["optim"] = Aggressive, {"model": model, "every": 4, "lr": 0.01}
    whole = fit(model, guide, {"x": x}, epochs=4, **options)
    end = values(model), values(guide)
    for epochs in (2, 4):
        model.load_state_dict(start[0]), guide.load_state_dict(start[1])
        resumed = fit(model, guide, {"x": x}, epochs=epochs, run=tmp_path, resume=epochs == 4, **options)
    assert resumed["loss"] == whole["loss"]
    assert end[0].equal(values(model))
    assert end[1].equal(values(guide))


def test_it_ends_when_the_codes_tell_less(pair, monkeypatch):
    model, guide = pair
    optimizer = Aggressive([*model.parameters(), *guide.parameters()], model=model, every=5)
    release = Release(optimizer, model=model, guide=guide, data={"x": torch.randn(10, 4)})
    seen = []
    for information in (1.0, 2.0, 1.9, 3.0):
        measured = type("Measured", (), {"mutual_information": type("E", (), {"value": information})})
        monkeypatch.setattr("pyrovae.inference.tasks.aggressive.aggregate_posterior", lambda *_, m=measured, **__: m)
        release.step()
        seen.append(optimizer.held_back["every"])
    assert seen == [5, 5, 1, 1]


def test_the_information_is_measured(pair):
    model, guide = pair
    optimizer = Aggressive([*model.parameters(), *guide.parameters()], model=model, every=5)
    release = Release(optimizer, model=model, guide=guide, data={"x": torch.randn(30, 4)})
    release.step()
    assert 0 <= release.state_dict()["information"] < 4


def test_what_it_requires(pair, says):
    model, guide = pair
    with says(SettingError, "every requires a whole number of at least 1", "got 0"):
        Aggressive([*model.parameters(), *guide.parameters()], model=model, every=0)
    with says(PairError, "got none"):
        Aggressive(guide.parameters(), model=model)
