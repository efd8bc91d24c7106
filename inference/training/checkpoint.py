"""Checkpoints: a training state in one file, written atomically, and read without running code.

The file has torch's zip format and holds only tensors, numbers, strings and containers. It is read with
`weights_only=True`, which refuses a malicious pickle before any of it runs.
"""

import os
import pickle
import secrets
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyro
import torch
from torch import Tensor, nn

from pyrovae.errors import CheckpointError, OutputError
from pyrovae.inference.pair.contract import ProgramLike, modules

__all__ = ["load", "load_weights", "restore", "save", "weights", "write_atomically"]


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file so that other readers see the old content or the new one, never a part of it.

    Args:
        path: the file; its folder is made where it is missing.
        write: writes the content to an open binary file, a temporary one in the same folder.

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
            with suppress(OSError):  # it may not exist yet
                temporary.unlink()
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path.name!r} into {str(path.parent)!r}: {error.strerror}. Choose a folder that you may "
            "write: --out runs/mine, or run=... in fit()."
        ) from error


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a training state.

    Args:
        path: the file.
        state: tensors, numbers, strings, and containers of them.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    write_atomically(path, lambda file: torch.save(state, file))


def load(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a training state.

    Args:
        path: the file.
        device: where its tensors go.

    Raises:
        CheckpointError: the file is missing or truncated, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {str(path)!r}. Train one first: fit(..., run={str(path.parent)!r}).")
    try:
        with warnings.catch_warnings(action="ignore"):  # about unknown pickle protocols
            state = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{str(path)!r} holds something other than tensors and plain values, so it is refused without being "
            f"run: {str(error).splitlines()[0]}. Load only checkpoints that you trust, or train again."
        ) from error
    except Exception as error:  # a broken file may make the reader raise anything
        raise CheckpointError(
            f"{str(path)!r} is truncated or no checkpoint ({error}). Delete it and train again, or restore a copy."
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{str(path)!r} holds a {type(state).__name__}, not a training state. Train again.")
    return state


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
    owners = modules(model, guide)
    if not {"modules", "store"} <= weights.keys():
        raise CheckpointError(f"these are not the weights of a pair, but {', '.join(map(repr, weights))}. Train again.")
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
            f"Build the {name} as it was trained (config.json shows how), or train into another folder."
        )


def load_weights(model: ProgramLike, guide: ProgramLike, run: str | Path) -> None:
    """Load the weights of a run folder into a pair.

    They are those that the training ended with: the best ones with patience, the average with an average, else the
    last.

    Args:
        model, guide: the pair, of the architecture that was trained.
        run: the run folder.

    Raises:
        CheckpointError: the folder holds no checkpoint, a broken one, or one of another architecture.
    """
    state = load(Path(run) / "checkpoint.pt")
    restore(model, guide, state.get("best") or state.get("weights", state))
