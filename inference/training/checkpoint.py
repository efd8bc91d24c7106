"""Checkpoints: a training state in one file, written atomically, read without running code.

The file is torch's zip format with tensors, numbers, strings and containers only; it is read with
`weights_only=True`, so a malicious pickle is refused before any of it runs.
"""

import os
import pickle
import secrets
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from pyrovae.errors import CheckpointError, OutputError
from pyrovae.inference.pair.contract import ProgramLike, modules

__all__ = ["load", "load_weights", "restore", "save", "weights", "write_atomically"]


def write_atomically(path: Path, write: Any) -> None:
    """Call `write(file)` on a temporary neighbour, flush it to the disk, and put it in place at once.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):  # it was never made
                temporary.unlink()
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path.name!r} into {str(path.parent)!r}: {error.strerror}. Choose a folder of yours: "
            "--out runs/mine, or run=... in fit()."
        ) from error


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a training state."""
    write_atomically(path, lambda file: torch.save(state, file))


def load(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a training state.

    Raises:
        CheckpointError: the file is missing, truncated, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {str(path)!r}. Train one first: fit(..., run={str(path.parent)!r}).")
    try:
        with warnings.catch_warnings(action="ignore"):  # of strange pickle protocols
            state = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{str(path)!r} holds something other than tensors and plain values, so it is refused without being "
            f"run: {str(error).splitlines()[0]}. Take checkpoints from people whom you trust, or train anew."
        ) from error
    except Exception as error:  # the reader of a broken file may raise anything
        raise CheckpointError(
            f"{str(path)!r} is truncated or no checkpoint ({error}). Delete it and start anew, or restore a copy."
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{str(path)!r} holds a {type(state).__name__}, not a training state. Train anew.")
    return state


def weights(model: ProgramLike, guide: ProgramLike) -> dict[str, Any]:
    """The weights of a pair: the state of its modules, and Pyro's store for programs that are plain functions."""
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
    """Put weights into a pair of the same architecture.

    Raises:
        CheckpointError: names or shapes differ; the message shows the first few.
    """
    owners = modules(model, guide)
    if not {"modules", "store"} <= weights.keys():
        raise CheckpointError(f"these are not the weights of a pair, but {', '.join(map(repr, weights))}. Train anew.")
    if len(owners) != len(weights["modules"]):
        raise CheckpointError(
            f"the checkpoint holds {len(weights['modules'])} module(s), this pair has {len(owners)}. Build the pair "
            "as it was trained."
        )
    for module, state in zip(owners, weights["modules"], strict=True):
        _compare(module, state)
    _compare_store(weights["store"])
    for module, state in zip(owners, weights["modules"], strict=True):
        module.load_state_dict(state)
    with torch.no_grad():
        for name, value in weights["store"].items():
            _unconstrained(name).copy_(value)


def _compare_store(weights: dict[str, Tensor]) -> None:
    own = {name: _unconstrained(name) for name in pyro.get_param_store()}
    for name, value in weights.items():
        if name not in own or own[name].shape != value.shape:
            got = f"has shape {tuple(own[name].shape)}" if name in own else "does not exist (yet)"
            raise CheckpointError(
                f"parameter {name!r} is in the checkpoint with shape {tuple(value.shape)}, in Pyro's store it {got}. "
                "Build the pair as it was trained, and run it once, check_pair(model, guide, batch), before loading."
            )


def _compare(module: nn.Module, state: dict[str, Any]) -> None:
    own, name = module.state_dict(), type(module).__name__
    wrong = [f"{key} is missing in the checkpoint" for key in own.keys() - state.keys()]
    wrong += [f"{key} is not in this one" for key in state.keys() - own.keys()]
    wrong += [
        f"{key} has shape {tuple(own[key].shape)}, in the checkpoint {tuple(state[key].shape)}"
        for key in own.keys() & state.keys()
        if own[key].shape != state[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(
            f"the checkpoint is of another architecture than this {name}: {'; '.join(sorted(wrong)[:3])}{more}. "
            f"Build the {name} as it was trained (config.json tells how), or train into another folder."
        )


def load_weights(model: ProgramLike, guide: ProgramLike, run: str | Path) -> None:
    """Put the weights of a run folder into a pair: the best ones of a run with patience, else the last.

    Raises:
        CheckpointError: no checkpoint there, a broken one, or one of another architecture.
    """
    state = load(Path(run) / "checkpoint.pt")
    restore(model, guide, state.get("best") or state.get("weights", state))
