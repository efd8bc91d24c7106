"""What pictures are made of: tensors of real numbers, on the CPU."""

from collections.abc import Sized
from typing import Any

import torch
from torch import Tensor

from pyrovae.errors import DataError, ShapeError

__all__ = ["equally_many", "numbers", "several"]


def numbers(name: str, value: Any) -> Tensor:
    """A tensor of real numbers with its values on the CPU; an array of NumPy becomes one.

    Args:
        name: the argument's name, for the error.
        value: what was given.

    Raises:
        DataError: it is no tensor, or one of complex numbers, without values, or with a layout of its own.
    """
    try:
        tensor = torch.as_tensor(value) if hasattr(value, "__array__") and not isinstance(value, Tensor) else value
        if not isinstance(tensor, Tensor) or tensor.is_complex() or tensor.device.type == "meta":
            raise TypeError
        return tensor.detach().to_dense().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        kind = f"one of {value.dtype} on {value.device}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise DataError(f"{name} requires a tensor of real numbers, got {kind}.") from error


def equally_many(name: str, values: Any, count: int, of: str) -> Any:
    """The values, after a check of their number.

    Args:
        name: the argument's name, for the error.
        values: a sequence, such as a list of names.
        count: how many values there must be.
        of: what they belong to, in words, for the error.

    Raises:
        ShapeError: there are more or fewer, or the argument is no sequence.
    """
    if not isinstance(values, Sized) or isinstance(values, bytes | str | dict) or len(values) != count:
        got = f"{len(values)}" if isinstance(values, Sized) else f"a {type(values).__name__}"
        raise ShapeError(f"{name} requires {count}, one for each of the {of}, got {got}.")
    return values


def several(name: str, values: Any) -> Any:
    """The values, after a check that they are a list, a tuple or a tensor.

    Args:
        name: the argument's name, for the error.
        values: what was given.

    Raises:
        ShapeError: the argument is no sequence.
    """
    if not isinstance(values, list | tuple | range | Tensor):
        raise ShapeError(f"{name} requires a list of numbers, got a {type(values).__name__}.")
    return values
