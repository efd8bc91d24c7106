"""Modules that remember the arguments of their constructor, so that they can be built again without their code.

A folder that holds a pair lists these arguments (`pyrovae.save`), and nothing of the code that computed them.
"""

import inspect
from collections import OrderedDict
from dataclasses import is_dataclass
from functools import partial
from types import MethodType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Lost", "Record", "Recorded", "record_of"]

_PLAIN = (bool, int, float, str, type(None), type, torch.dtype, np.ndarray, np.generic, nn.Module)


class Record:
    """The arguments of one call of a constructor. Lists, tuples and dicts are copies, the values in them are not.

    Args:
        args: the positional arguments.
        kwargs: the named arguments.
    """

    # Without a __dict__, so that whatever walks through the attributes of a module stops here.
    __slots__ = ("args", "kwargs")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = tuple(map(_kept, args)), {name: _kept(value) for name, value in kwargs.items()}


class Lost:
    """Stands for an argument that no file can hold, such as a function. It keeps the words alone.

    Args:
        what: what the argument was, such as "a function '<lambda>'".
    """

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what


class Recorded:
    """A mixin for modules: the arguments of the constructor are recorded when it is called.

        class Mine(Recorded, nn.Module): ...

    Put it before `nn.Module`. Every module of the suite has it, and so does every `pyrovae.models.Program`.

    Args:
        args, kwargs: the arguments of the constructor.
    """

    # Copying and unpickling create an object without arguments, and then give it the record of the original.
    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        vars(self)["_recorded"] = Record(args, kwargs)
        return self


def record_of(module: object) -> Record | None:
    """The arguments that an object was built with; None for one that does not record them.

    Args:
        module: a module.
    """
    return getattr(module, "__dict__", {}).get("_recorded")


def _kept(value: Any) -> Any:
    """What a record keeps of an argument. It can be copied and pickled if the module can."""
    if isinstance(value, Tensor):
        return value if value.is_leaf else value.detach()
    if isinstance(value, _PLAIN) or (is_dataclass(value) and not isinstance(value, type)):
        return value
    if type(value) in (list, tuple):
        return type(value)(map(_kept, value))
    if isinstance(value, torch.Size):
        return tuple(value)
    if type(value) in (dict, OrderedDict):
        return {key: _kept(entry) for key, entry in value.items()}
    if isinstance(value, MethodType) and isinstance(value.__self__, nn.Module):
        return value
    if isinstance(value, partial) and isinstance(value.func, type):
        return partial(value.func, *map(_kept, value.args), **{k: _kept(v) for k, v in value.keywords.items()})
    return value if isinstance(value, Lost) else Lost(_described(value))


def _described(value: Any) -> str:
    if inspect.isroutine(value):
        return f"the function {value.__name__!r}"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
