"""The contract of a pair: how every tool calls a model p(x, z) and a guide q(z | x).

A batch is a dict of named tensors that share their leading dimension, one row for each data point. A program gets the
tensors that its signature names; a module whose arguments depend on how it is built states them in `__signature__`. The
data are in one plate, `"data"`, at dim=-1, whose size is that of the batch.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyrovae.data import Batch
from pyrovae.data.named import kind_of
from pyrovae.data.source import LazyBatch
from pyrovae.errors import DataError, PairError, PyrovaeError, ShapeError
from pyrovae.inference.pair.threads import one_thread

__all__ = [
    "ProgramLike",
    "Site",
    "arguments",
    "batch_size",
    "call",
    "explained_arguments",
    "explained_shapes",
    "explained_types",
    "filled",
    "local_params",
    "modules",
    "name_of",
    "required",
    "takes",
    "takes_data_size",
]

ProgramLike = Callable[..., Any]
"""Any Pyro program: a function, a bound method, or a module."""

Site = Any
"""One sample site of a trace, or the message of one: Pyro's typed dict, or a plain dict."""


def call(program: ProgramLike, batch: Batch, **extra: Any) -> Any:
    """Call a program with the arguments that its signature names.

    A program with `**kwargs` gets the whole batch.

    Args:
        program: a model or a guide.
        batch: named tensors.
        extra: further arguments, such as `size=16` or `data_size=60_000`, for programs whose signature names them.
            Where the batch has a tensor of the same name, the program gets the tensor.

    Raises:
        PairError: a required argument is neither in the batch nor in `extra`.
        DataError: the program fails on numbers of another type than those of its parameters.
    """
    wanted = _signature(program)
    offered = {**extra, **batch}
    missing = [name for name, needed in wanted.items() if needed and name not in offered]
    if missing:
        raise PairError(
            f"{name_of(program)} requires {', '.join(map(repr, missing))}, got a batch of "
            f"{', '.join(map(repr, batch))}. Name each argument after its site and put a tensor of that name "
            "into the data, or give the argument a default."
        )
    whole = dict(batch) if _takes_any(program) else {}
    with explained_types(program, batch):
        return program(**whole | {name: offered[name] for name in wanted if name in offered})


_ABOUT_TYPES = re.compile(
    r"dtype|scalar type|input type|result type|not implemented for|bool tensor|a Float|a Double|of a (Long|Byte)",
    re.IGNORECASE,
)
"""What torch says where the types of numbers do not fit."""


@contextmanager
def explained_types(program: ProgramLike, batch: Batch) -> Iterator[None]:
    """Replaces an error of torch about the types of numbers by one that names the tensors and the line to write.

    Args:
        program: the model or the guide that runs inside.
        batch: what it gets: named tensors, or codes.

    Raises:
        DataError: the program fails on numbers of another type than those of its parameters.
    """
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        message = "" if isinstance(error, PyrovaeError) else _about_types(program, batch, str(error))
        if not message:
            raise
        raise DataError(message) from error


@contextmanager
def explained_shapes(program: ProgramLike, batch: Batch) -> Iterator[None]:
    """Replaces an error of torch or Pyro about shapes by one that names the program and the shapes of its batch.

    Args:
        program: the model or the guide that runs inside.
        batch: what it gets.

    Raises:
        ShapeError: the program fails on tensors of these shapes.
    """
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        if isinstance(error, PyrovaeError) or not _ABOUT_SHAPES.search(str(error)):
            raise
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in batch.items())
        raise ShapeError(
            f"{name_of(program)} fails on a batch of {shapes}: {error}. Check the shapes that its networks were built "
            "with; check_pair(model, guide, batch) says more."
        ) from error


@contextmanager
def explained_arguments(program: ProgramLike, batch: Batch) -> Iterator[None]:
    """Replaces what Python says of an argument that is None by an error that names the argument.

    Args:
        program: the model or the guide that runs inside.
        batch: what it gets.

    Raises:
        PairError: it fails, and an argument of it has no tensor in the batch.
    """
    try:
        yield
    except PyrovaeError:
        raise
    except (TypeError, AttributeError) as error:
        empty = [given for given in arguments(program) or [] if given not in {"size", "data_size", *batch}]
        if not empty:
            raise
        names, lacking = (", ".join(map(repr, some)) for some in (batch, empty))
        raise PairError(
            f"{name_of(program)} requires tensors with the names of its arguments, got {names} and none for {lacking}: "
            f"{error}. Name the argument after the tensor, or put a tensor of that name into the data."
        ) from error


_ABOUT_SHAPES = re.compile(r"shape|size of tensor|dimension|inside plate|channels|broadcast", re.IGNORECASE)
"""What torch and Pyro say where shapes do not fit."""


def _about_types(program: ProgramLike, batch: Batch, error: str) -> str:
    """What to say of an error; nothing where it is not about types, or all types are those of the parameters."""
    owned = [parameter for module in modules(program) for parameter in module.parameters()]
    floats = next((parameter.dtype for parameter in owned if parameter.is_floating_point()), None)
    others = {name: tensor.dtype for name, tensor in batch.items() if tensor.dtype != floats}
    if not others or not _ABOUT_TYPES.search(error):
        return ""
    if floats is None:
        listed = ", ".join(f"{name} of {str(dtype).removeprefix('torch.')}" for name, dtype in others.items())
        return f"{name_of(program)} fails on the types of its data, {listed}: {error}. Write x.float(), or x.double()."
    wrong = next((name for name, dtype in others.items() if dtype.is_floating_point), next(iter(others)))
    needed = torch.int64 if "Long, Int" in error else floats
    listed = ", ".join(f"{name} of {str(dtype).removeprefix('torch.')}" for name, dtype in others.items())
    return (
        f"{name_of(program)} fails on the types of its data: its parameters are {str(floats).removeprefix('torch.')}, "
        f'and it got {listed}: {error}. Write {{"{wrong}": {wrong}.to({needed})}}.'
    )


def takes(program: ProgramLike, name: str) -> bool:
    """Whether the signature of a program names an argument.

    Args:
        program: a model or a guide.
        name: the name of the argument.
    """
    return name in _signature(program)


def takes_data_size(*programs: ProgramLike) -> bool:
    """Whether a latent of all data points scales the loss: one of the programs names `data_size`.

    Args:
        programs: the model and the guide.
    """
    return any(takes(program, "data_size") for program in programs)


def arguments(program: ProgramLike) -> list[str] | None:
    """The arguments that the signature of a program names; None if it takes any.

    Args:
        program: a model or a guide.
    """
    return None if _takes_any(program) else list(_signature(program))


def required(program: ProgramLike) -> list[str]:
    """The arguments of a program that have no default.

    Args:
        program: a model or a guide.
    """
    return [name for name, needed in _signature(program).items() if needed]


def _signature(program: ProgramLike) -> dict[str, bool]:
    """Each argument that a program names, and whether it is required."""
    named = (p for p in _parameters(program) if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return {p.name: p.default is p.empty for p in named}


def _takes_any(program: ProgramLike) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in _parameters(program))


def _parameters(program: ProgramLike) -> list[inspect.Parameter]:
    states = hasattr(program, "__signature__")  # a module whose arguments are known when it is built
    function = program.forward if isinstance(program, nn.Module) and not states else program
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = None
    if parameters is None or any(p.kind is p.POSITIONAL_ONLY for p in parameters):
        raise PairError(
            f"A program requires arguments that are passed by name, def model(x): ..., got {program!r}. Write "
            "(model, guide, data) with a function or a module for each program."
        )
    return parameters


def name_of(program: ProgramLike) -> str:
    """The name of a function, or of the class of a module.

    Args:
        program: a model or a guide.
    """
    return getattr(program, "__name__", type(program).__name__)


def modules(*programs: ProgramLike) -> list[nn.Module]:
    """The modules that own the programs' parameters: a program itself, or the object of a bound method.

    Args:
        programs: models and guides; plain functions own no module.
    """
    owners = [getattr(program, "__self__", program) for program in programs]
    return list(dict.fromkeys(owner for owner in owners if isinstance(owner, nn.Module)))


@contextmanager
def local_params(*programs: ProgramLike) -> Iterator[None]:
    """While this context is open, parameters are those of the modules, not of Pyro's global store.

    Args:
        programs: models and guides.

    Raises:
        ThreadError: another thread runs a pair.
    """
    for module in modules(*programs):
        if isinstance(module, PyroModule) and not hasattr(module._pyro_context, "param_state"):
            # Pyro makes this scope only in the constructor, and this module was built without the setting.
            module._pyro_context.param_state = {"params": {}, "constraints": {}}
    with one_thread(), pyro.settings.context(module_local_params=True):
        yield


def batch_size(batch: Batch) -> int:
    """The leading dimension B that all tensors of a batch share.

    Args:
        batch: named tensors.

    Raises:
        DataError: the batch is no named tensors.
        ShapeError: the leading dimensions differ, or a tensor has none.
    """
    if isinstance(batch, LazyBatch):
        return batch.size
    if not isinstance(batch, Mapping) or not all(isinstance(tensor, Tensor) for tensor in batch.values()):
        raise DataError(f'A batch requires named tensors, got {kind_of(batch)}. Write {{"x": x}} with a tensor x.')
    sizes = {name: tensor.shape[0] if tensor.dim() else None for name, tensor in batch.items()}
    if len(set(sizes.values())) != 1 or None in sizes.values():
        raise ShapeError(
            f"A batch requires tensors that share the leading dimension, got {sizes}. "
            'Write {"x": x} with x of shape (B, *event).'
        )
    return next(iter(sizes.values()))  # type: ignore[return-value]


def filled(what: str, data: Batch) -> int:
    """The number of data points, at least one.

    Args:
        what: the caller's name, for the error.
        data: named tensors.

    Raises:
        PairError: the data are empty.
    """
    size = batch_size(data)
    if size == 0:
        raise PairError(f"{what} requires data points, got an empty batch. Pass a split with rows: data.test.")
    return size
