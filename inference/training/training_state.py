"""The state of a training that a checkpoint holds: each entry is checked before any of it is used."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.optim import Optimizer

from pyrovae.errors import CheckpointError
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.training.history import History
from pyrovae.inference.training.pair_weights import check_finite_weights, check_same_architecture
from pyrovae.inference.training.update_rules import RULES

__all__ = ["check_state", "history_of"]


def check_state(
    state: Mapping[str, Any],
    own: Mapping[str, Any],
    model: ProgramLike,
    guide: ProgramLike,
    optimizer: Optimizer,
) -> None:
    """Refuse a state that is not one of this training: by kind, shape and finiteness of every entry.

    Args:
        state: what a checkpoint held.
        own: the state of the training that goes on, before its first step.
        model, guide: its pair.
        optimizer: its optimizer.

    Raises:
        CheckpointError: an entry is missing or is of another kind; it is named.
    """
    if missing := [name for name in own if name not in state]:
        _refuse(missing[0], "an entry", None)
    for name in ("weights", "mean", "best"):
        if state[name] is not None or name == "weights":
            check_same_architecture(model, guide, state[name])
            check_finite_weights(model, guide, state[name])
    _check_optimizer(state["optimizer"], optimizer)
    _check_objective(state["objective"], own["objective"])
    _alike("scheduler", state["scheduler"], own["scheduler"])
    _check_generator("rng", state["rng"], own["rng"])
    if state["cuda_rng"] is not None:
        _check_generator("cuda_rng", state["cuda_rng"], own["cuda_rng"])
    history_of(state)
    _check_numbers("losses", state["losses"])
    _check_numbers("tracked", state["tracked"], 2)
    _check_taken(state["taken"])


def history_of(state: Mapping[str, Any]) -> History:
    """The history of a training, from its state.

    Args:
        state: what a checkpoint held.

    Raises:
        CheckpointError: the state holds no history; the entry is named.
    """
    kept: Any = state.get("history")
    losses: Any = state.get("step_losses")
    seconds: Any = state.get("seconds")
    _check_history(kept)
    _check_step_losses(losses, kept["rows"])
    _check_numbers("seconds", [seconds])
    return History(tuple(kept["rows"]), kept.get("best_epoch"), kept["stopped"], seconds, losses.cpu())


def _refuse(name: str, required: str, got: Any) -> NoReturn:
    shown = repr(got) if isinstance(got, int | float | str | None) else type(got).__name__
    raise CheckpointError(
        f"the checkpoint requires {required} as {name!r}, got {shown[:80]}. It was not written by this training: train "
        "again, or restore a copy."
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_optimizer(state: Any, optimizer: Optimizer) -> None:
    own = optimizer.state_dict()
    if not isinstance(state, dict) or not isinstance(state.get("state"), dict):
        _refuse("optimizer", "the state of an optimizer", state)
    groups = state.get("param_groups")
    if not isinstance(groups, list) or len(groups) != len(own["param_groups"]):
        _refuse("optimizer", f"{len(own['param_groups'])} groups of parameters", groups)
    for group, mine in zip(groups, own["param_groups"], strict=True):
        _alike("optimizer", group, mine)
        if group["params"] != mine["params"]:
            _refuse("optimizer", f"the parameters {mine['params']}", group)
    owners = [(parameter, group) for group in optimizer.param_groups for parameter in group["params"]]
    for number, entries in state["state"].items():
        known = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(owners)
        if not known or not isinstance(entries, dict):
            _refuse("optimizer", "state of the parameters by number", number)
        _check_moments(entries, type(optimizer), *owners[number])


def _check_moments(entries: dict[str, Any], kind: type, parameter: Tensor, group: dict[str, Any]) -> None:
    """What an optimizer keeps of one parameter: as our own rule for it would start, or at least finite."""
    rule = RULES.get(kind)
    if rule is not None and rule.fits(group):
        given = {name: value for name, value in entries.items() if value is not None}  # SGD keeps None
        _alike("optimizer", given, rule.state(parameter, torch.zeros(()), group))
        return
    for name, value in entries.items():
        if isinstance(value, Tensor) and (value.is_complex() or not value.isfinite().all()):
            _refuse(f"optimizer: {name}", "finite real numbers", "other ones")


def _alike(name: str, given: Any, own: Any) -> None:
    """Refuse a plain value of another kind than one's own; numbers must be finite where one's own is."""
    if isinstance(own, bool) or own is None or isinstance(own, str):
        if type(given) is not type(own):
            _refuse(name, f"a value like {own!r}", given)
    elif isinstance(own, int | float):
        number = isinstance(given, int | float) and not isinstance(given, bool)
        if not number or math.isnan(given) or (math.isinf(given) and math.isfinite(own)):
            _refuse(name, f"a number like {own!r}", given)
    elif isinstance(own, Tensor):
        if not isinstance(given, Tensor) or given.shape != own.shape or given.dtype != own.dtype:
            _refuse(name, f"a tensor of shape {tuple(own.shape)} and {own.dtype}", given)
        if not given.isfinite().all():
            _refuse(name, "finite numbers", "NaN or infinity")
    elif isinstance(own, Mapping):
        if not isinstance(given, Mapping) or given.keys() != own.keys():
            _refuse(name, f"the entries {', '.join(map(str, own))}", given)
        for key in own:
            _alike(f"{name}: {key}", given[key], own[key])
    elif isinstance(own, list | tuple):
        if not isinstance(given, list | tuple) or len(given) != len(own):
            _refuse(name, f"{len(own)} values", given)
        for one, other in zip(given, own, strict=True):
            _alike(name, one, other)


def _check_objective(given: Any, own: Any) -> None:
    if given is None and own is not None:
        _refuse("objective", "the state of an objective: the run was started with a loss of Pyro's", given)
    _alike("objective", given, own)


def _check_generator(name: str, state: Any, own: Tensor | None) -> None:
    wrong = not isinstance(state, Tensor) or state.dtype != torch.uint8
    if wrong or (own is not None and state.shape != own.shape):
        _refuse(name, "the state of a generator of random numbers", state)
    try:
        if name == "rng":
            torch.Generator().set_state(state.cpu())
    except RuntimeError as error:
        _refuse(name, "the state of a generator of random numbers", str(error))


def _check_history(history: Any) -> None:
    if not isinstance(history, dict) or not isinstance(history.get("rows"), list):
        _refuse("history", "rows of epochs", history)
    rows, best, stopped = history["rows"], history.get("best_epoch"), history.get("stopped")
    for epoch, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not {"epoch", "step", "lr", "loss"} <= row.keys():
            _refuse("history", f"the row of epoch {epoch}", row)
        _check_numbers("history", list(row.values()))
        if row["epoch"] != epoch:
            _refuse("history", f"the row of epoch {epoch}", row["epoch"])
    if best is not None and (not _is_number(best) or not 1 <= best <= len(rows)):
        _refuse("history", f"a best epoch from 1 to {len(rows)}", best)
    if not isinstance(stopped, str) or stopped not in ("epochs", "patience", "callback"):
        _refuse("history", "'epochs', 'patience' or 'callback' as what stopped it", stopped)


def _check_numbers(name: str, values: Any, count: int | None = None) -> None:
    wrong = not isinstance(values, list) or not all(map(_is_number, values))
    if wrong or (count is not None and len(values) != count):
        _refuse(name, "finite numbers" if count is None else f"{count} finite numbers", values)


def _check_step_losses(losses: Any, rows: list[dict[str, float]]) -> None:
    steps = rows[-1]["step"] if rows else 0
    wrong = not isinstance(losses, Tensor) or losses.shape != (steps,) or losses.dtype != torch.float32
    if wrong or not losses.isfinite().all():
        _refuse("step_losses", f"{steps} finite numbers", losses)


def _check_taken(taken: Any) -> None:
    counts = list(taken.values()) if isinstance(taken, dict) else [None]
    if not all(isinstance(count, dict) and all(isinstance(n, int) for n in count.values()) for count in counts):
        _refuse("taken", "numbers of calls by function and sizes", taken)
