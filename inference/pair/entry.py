"""The entry of data: what every tool does first with the pair and the data that it is given."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import DataParallel
from torch.nn.parallel import DistributedDataParallel

from pyrovae.data import Batch, Scale, check_unchanged
from pyrovae.data.named import batch_of, kind_of, named_tensors
from pyrovae.data.source import LazyBatch
from pyrovae.errors import PairError, SettingError
from pyrovae.inference.pair.contract import ProgramLike, filled, modules, takes
from pyrovae.inference.pair.running import device_of

__all__ = ["conditioned", "entered", "floats_of", "prepared", "require_programs"]


def entered(what: str, data: Any, transform: Callable[[Any], Any] | None, *programs: ProgramLike) -> Batch:
    """The data of a tool: named tensors of at least one data point, prepared by the transform.

    Args:
        what: the caller's name, for the errors.
        data: named tensors or arrays that share their leading dimension; one tensor, array or data frame of numbers,
            which is `x`; a `pyrovae.data.Source`; or a `datasets.Dataset`. Rows of the last two are read where they are
            needed.
        transform: the transform of the tool; `pyrovae.data.Scale()` if None.
        programs: model and guide; floats of NumPy get the type of their parameters.

    Raises:
        DataError: the data are no such thing; the message has the line to write.
        ShapeError: entries of different lengths.
        PairError: the data are empty, or a program is no function.
    """
    require_programs(what, *programs)
    named = batch_of(what, data, floats_of(*programs))
    filled(what, named)
    return prepared(named, transform)


def conditioned(what: str, model: ProgramLike, given: Any) -> dict[str, Tensor]:
    """What a model is given beside its latents, on its device: nothing, or named tensors.

    Args:
        what: the caller's name, for the errors.
        model: the program.
        given: named tensors or arrays; None or an empty dict for none.

    Raises:
        DataError: it is something else; the message has the line to write.
        PairError: the model is no function.
    """
    require_programs(what, model)
    named, device = named_tensors(what, {} if given is None else given, floats_of(model)), device_of(model)
    return {name: tensor.to(device) for name, tensor in named.items()}


def prepared(data: Batch, transform: Callable[[Any], Any] | None) -> Batch:
    """The data as the first phase of a transform leaves them, its `prepare`; data that are prepared stay as they are.

    Args:
        data: named tensors.
        transform: a function from batch to batch, which may have a `prepare`; `pyrovae.data.Scale()` if None.

    Raises:
        SettingError: the transform is no function, or cannot prepare some rows of a source at a time.
        DataError, ShapeError, SupportError: `prepare` refuses the data; or they are mapped from a file that changed.
    """
    transform = Scale() if transform is None else transform
    if not _takes_a_batch(transform):
        got = f"the class {transform.__name__}" if isinstance(transform, type) else kind_of(transform)
        raise SettingError(f"transform requires a function from batch to batch, got {got}. Write transform=Scale().")
    if isinstance(data, LazyBatch):
        return data.prepared(transform)
    check_unchanged(data)
    prepare = getattr(transform, "prepare", None)
    return dict(data) if prepare is None else dict(prepare(dict(data)))


def _takes_a_batch(transform: Any) -> bool:
    """Whether a transform can be called with one argument; what has no signature is believed."""
    if not callable(transform):
        return False
    try:
        inspect.signature(transform).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def require_programs(what: str, *programs: Any) -> None:
    """Refuse a model or a guide that is no function.

    Args:
        what: the caller's name, for the error.
        programs: what was given as model and guide.

    Raises:
        PairError: one is no function, and no module.
    """
    for program in programs:
        if not callable(program):
            raise PairError(
                f"{what} requires a program, a function or a module, got {kind_of(program)}. Write "
                f"{what}(model, guide, data)."
            )
        _refuse_wrapped(what, program)
        takes(program, "x")


def floats_of(*programs: ProgramLike) -> torch.dtype | None:
    """The type of the programs' first parameter or buffer that holds floats; None if there is none.

    Args:
        programs: models and guides.
    """
    for module in modules(*programs):
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                return tensor.dtype
    return None


def _refuse_wrapped(what: str, program: Any) -> None:
    """Refuse a class in place of its object, and a program that torch has wrapped: its signature is hidden."""
    if isinstance(program, type):
        name = program.__name__
        called = any("__call__" in vars(base) for base in program.__mro__)
        line = f"{name}()" if called else f"{what}(model, guide, data)"
        raise PairError(f"{what} requires a program, an object of a class, got the class {name}. Write {line}.")
    if isinstance(program, DataParallel | DistributedDataParallel):
        raise PairError(
            f"{what} requires the program itself, got {kind_of(program)} around it. Write model in place of "
            f"{type(program).__name__}(model), and fit(..., devices=2), which starts a process for each GPU."
        )
    if hasattr(program, "_orig_mod") or hasattr(program, "_torchdynamo_orig_callable"):
        raise PairError(
            f"{what} requires the program itself, got one that torch.compile has wrapped. Write model in place of "
            "torch.compile(model): fit compiles whole steps, fit(..., compile=True)."
        )
