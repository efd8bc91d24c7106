"""The weights of a pair, as tensors that a checkpoint holds, and back."""

from typing import Any

import pyro
import torch
from torch import Tensor, nn

from pyrovae.errors import CheckpointError
from pyrovae.inference.pair.contract import ProgramLike, modules

__all__ = ["check_finite_weights", "check_same_architecture", "restore", "weights"]


def weights(model: ProgramLike, guide: ProgramLike) -> dict[str, Any]:
    """The weights of a pair: the state of its modules, and Pyro's store where a program is a plain function.

    Args:
        model, guide: the pair.
    """
    store = pyro.get_param_store()
    return {
        "modules": [module.state_dict() for module in modules(model, guide)],
        "store": {name: _unconstrained(name).detach() for name in store} if _uses_store(model, guide) else {},
    }


def _unconstrained(name: str) -> Tensor:
    value: Any = pyro.get_param_store()[name]
    return value.unconstrained()


def _uses_store(*programs: ProgramLike) -> bool:
    return not all(isinstance(program, nn.Module) for program in programs)


def restore(model: ProgramLike, guide: ProgramLike, weights: dict[str, Any]) -> None:
    """Load weights into a pair of the same architecture.

    Args:
        model, guide: the pair.
        weights: as the function `weights` gives them.

    Raises:
        CheckpointError: names or shapes differ; the message shows the first few.
    """
    check_same_architecture(model, guide, weights)
    for module, state in zip(modules(model, guide), weights["modules"], strict=True):
        module.load_state_dict(state)
    with torch.no_grad():
        for name, value in weights["store"].items():
            _unconstrained(name).copy_(value)


def check_same_architecture(model: ProgramLike, guide: ProgramLike, weights: Any) -> None:
    """Refuse weights that are not those of a pair of the same architecture.

    Args:
        model, guide: the pair.
        weights: as the function `weights` gives them, or anything else that a file held.

    Raises:
        CheckpointError: names, shapes or kinds differ; the message shows the first few.
    """
    owners = modules(model, guide)
    if not isinstance(weights, dict) or not {"modules", "store"} <= weights.keys():
        got = ", ".join(map(repr, weights)) if isinstance(weights, dict) else type(weights).__name__
        raise CheckpointError(f"these are not the weights of a pair, but {got}. Train again.")
    states, store = weights["modules"], weights["store"]
    if not isinstance(states, list) or not isinstance(store, dict):
        raise CheckpointError("the weights of a pair require a list of modules and a dict of parameters. Train again.")
    if len(owners) != len(states):
        raise CheckpointError(
            f"the checkpoint holds {len(states)} module(s), this pair has {len(owners)}. Build the pair as it was "
            "trained."
        )
    for module, state in zip(owners, states, strict=True):
        _compare(module, state)
    _compare_store(store)


def _compare_store(weights: dict[str, Tensor]) -> None:
    own = {name: _unconstrained(name) for name in pyro.get_param_store()}
    for name, value in weights.items():
        if name not in own or own[name].shape != _shape(value):
            got = f"has shape {tuple(own[name].shape)}" if name in own else "does not exist (yet)"
            raise CheckpointError(
                f"parameter {name!r} is in the checkpoint with shape {_shape(value)}, in Pyro's store it {got}. "
                "Build the pair as it was trained, and run it once, check_pair(model, guide, batch), before loading."
            )


def _compare(module: nn.Module, state: dict[str, Any]) -> None:
    own, name = module.state_dict(), type(module).__name__
    _check_kinds(own, state)
    wrong = [f"{key} is missing in the checkpoint" for key in own.keys() - state.keys()]
    wrong += [f"{key} is not in this one" for key in state.keys() - own.keys()]
    wrong += [
        f"{key} has shape {_shape(own[key])}, in the checkpoint {_shape(state[key])}"
        for key in own.keys() & state.keys()
        if _shape(own[key]) != _shape(state[key])
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(
            f"the checkpoint is of another architecture than this {name}: {'; '.join(sorted(wrong)[:3])}{more}. "
            f"Build the {name} as it was trained (config.json shows how), or train into another folder."
        )


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a tensor; None for what is none."""
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _check_kinds(own: dict[str, Any], state: Any) -> None:
    """Refuse values that are of another kind than the pair's."""
    if not isinstance(state, dict):
        raise CheckpointError(f"weights require a dict of tensors, got {type(state).__name__}. Train again.")
    for key in own.keys() & state.keys():
        mine, theirs = _kind(own[key]), _kind(state[key])
        if mine != theirs:
            raise CheckpointError(f"the weight {key!r} requires {mine}, got {theirs} in the checkpoint. Train again.")


def _kind(value: Any) -> str:
    return f"{value.layout} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def check_finite_weights(model: ProgramLike, guide: ProgramLike, weights: dict[str, Any]) -> None:
    """Refuse weights of which some are not finite, where those of the pair are.

    Args:
        model, guide: the pair, of the same architecture.
        weights: as the function `weights` gives them.

    Raises:
        CheckpointError: a weight is NaN or infinite.
    """
    own = [*(module.state_dict() for module in modules(model, guide)), weights["store"]]
    for mine, theirs in zip(own, [*weights["modules"], weights["store"]], strict=True):
        for name, value in theirs.items():
            wrong = isinstance(value, Tensor) and not value.isfinite().all()
            if wrong and (mine is theirs or (~value.isfinite() & mine[name].isfinite().to(value.device)).any()):
                raise CheckpointError(f"the weight {name!r} in the checkpoint is not finite. Train again.")
