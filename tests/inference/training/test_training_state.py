"""The state in a checkpoint: crafted entries are refused before anything is changed."""

import copy
import math

import pytest
import torch

from pyrovae.errors import CheckpointError
from pyrovae.inference import ELBO, SVI
from pyrovae.inference.training.checkpoint import load, save
from pyrovae.inference.training.training_state import check_state

NAN = float("nan")

BAD = [None, True, 3, -1, NAN, float("inf"), "text", [], {}, (), [None], {"x": 1}, torch.zeros(2), torch.tensor(NAN)]
"""Values that no place of a state holds, but where the same one stands there."""


def places(state, path=()):
    """Every place of a state, as the keys that lead to it."""
    yield path
    inner = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def replaced(state, path, value):
    """A copy of a state with another value at a place."""
    if not path:
        return value
    if isinstance(state, tuple):
        return tuple(replaced(part, path[1:], value) if i == path[0] else part for i, part in enumerate(state))
    copied = copy.copy(state)
    copied[path[0]] = replaced(state[path[0]], path[1:], value)
    return copied


@pytest.fixture
def training(tmp_path, table_pair, split, quick):
    """The state of a training, and what `check_state` compares it with."""
    schedule = lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)  # noqa: E731
    quick(*table_pair(), split(), epochs=2, run=tmp_path, scheduler=schedule, average=0.5, loss=ELBO())
    state = load(tmp_path / "checkpoint.pt")
    model, guide = table_pair()
    svi = SVI(model, guide, torch.optim.Adam)
    svi.prepare(split().train["x"])
    schedule(svi.optimizer)
    return state, model, guide, svi.optimizer


MAYBE = {("mean",), ("best",), ("cuda_rng",), ("history", "best_epoch")}
"""Places that may hold nothing."""


def means_something(old, new):
    """Whether a value may stand in the place of another."""
    if isinstance(new, torch.Tensor):
        same = isinstance(old, torch.Tensor) and (old.dtype, old.shape) == (new.dtype, new.shape)
        return same and bool(new.isfinite().all())
    if isinstance(new, int | float) and isinstance(old, int | float):
        return isinstance(new, bool) == isinstance(old, bool) and math.isfinite(new)
    return type(new) is type(old)


def test_a_state_is_that_of_its_training(training):
    state, *own = training
    check_state(state, state, *own)


def test_every_place_of_a_state_is_checked(training):
    """A bad value is refused, unless it has the kind of the good one and means something."""
    state, *own = training
    checked = {name: part for name, part in state.items() if name not in ("config", "about")}
    refused, taken = 0, []
    for path in places(checked):
        old = checked
        for key in path:
            old = old[key]
        for bad in BAD if path else ():
            try:
                check_state(replaced(checked, path, bad), checked, *own)
            except CheckpointError:
                refused += 1
                continue
            if not (means_something(old, bad) or (bad is None and path in MAYBE)):
                taken.append((path, bad))
    assert taken == []
    assert refused > 1000


@pytest.mark.parametrize("name", ["weights", "optimizer", "rng", "history", "losses", "taken", "scheduler"])
def test_a_missing_entry(name, training):
    state, *own = training
    with pytest.raises(CheckpointError, match=name):
        check_state({k: v for k, v in state.items() if k != name}, state, *own)


def test_tensors_of_another_shape_or_type(training):
    state, *own = training
    for path in places(state):
        old = state
        for key in path:
            old = old[key]
        if isinstance(old, torch.Tensor) and path[0] not in ("config", "about") and "step" not in path:
            for bad in (old.new_zeros((*old.shape, 2)), old.to(torch.complex64), old.float() * NAN):
                with pytest.raises(CheckpointError):
                    check_state(replaced(state, path, bad), state, *own)


def test_a_refused_state_changes_nothing(tmp_path, table_pair, split, quick, weights, equal):
    pair = table_pair()
    quick(*pair, split(), epochs=1, run=tmp_path)
    before, random = weights(*pair), torch.get_rng_state()
    state = load(tmp_path / "checkpoint.pt")
    state["losses"] = [NAN]
    save(tmp_path / "checkpoint.pt", state)
    content = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match="'losses'"):
        quick(*pair, split(), epochs=2, run=tmp_path, resume=True)
    assert equal(weights(*pair), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == content
