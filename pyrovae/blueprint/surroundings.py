"""Where a pair is built from its blueprint: global settings stay as they are, and sizes are known before memory is."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro.util import get_rng_state, set_rng_state
from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from pyrovae.errors import FolderError

__all__ = ["shapes_only", "undisturbed_build"]


@contextmanager
def undisturbed_build() -> Iterator[None]:
    """Inside, modules are built in float32 on the CPU, or without values where that holds outside.

    Global random numbers, parameters and settings stay as they are.
    """
    dtype, random = torch.get_default_dtype(), get_rng_state()
    device = "meta" if torch.get_default_device().type == "meta" else "cpu"
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device(device), pyro.settings.context(module_local_params=True):
            yield
    finally:
        torch.set_default_dtype(dtype)
        set_rng_state(random)


@contextmanager
def shapes_only(most: int) -> Iterator[None]:
    """Inside, modules are built without memory: their tensors have shapes and no values.

    Args:
        most: the number of parameters at which building ends.

    Raises:
        FolderError: more parameters are built.
    """
    built, here = [0], threading.get_ident()

    def count(*_: Any) -> None:
        built[0] += threading.get_ident() == here
        if built[0] > most:
            raise FolderError(f"The folder builds more than {most:,} parameters, and its weights are fewer.")

    handle = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), _NoValues():
            yield
    finally:
        handle.remove()


class _NoValues(TorchFunctionMode):
    """A number that is read off a tensor without values is 0; constructors read them for other things than shapes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.item, Tensor.__bool__, Tensor.__int__, Tensor.__float__) and args[0].is_meta:
            return {Tensor.__bool__: False, Tensor.__float__: 0.0}.get(func, 0)
        return func(*args, **(kwargs or {}))
