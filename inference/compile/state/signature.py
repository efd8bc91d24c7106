"""The signature of a call: everything about its arguments and torch's modes that a graph holds fixed."""

import sys
from typing import Any

import pyro
import torch
from torch import Tensor

from pyrovae.imports import private
from pyrovae.inference.compile.state.reads import Same
from pyrovae.inference.compile.state.watch import Hashed

__all__ = ["signature"]

pytree = private("torch.utils._pytree")


def signature(leaves: list[Any], spec: Any, *, bake_floats: bool) -> tuple[list[Tensor], Hashed]:
    """The tensors among the arguments, floats as tensors, and a key for everything else.

    An argument without a hash stands in the key by its identity; `Guards` holds what is read of it.

    Args:
        leaves: the arguments, flattened.
        spec: how they were nested.
        bake_floats: whether floats are part of the key instead.
    """
    tensors: list[Tensor] = []
    parts: list[Any] = []
    for leaf in leaves:
        if isinstance(leaf, float) and not bake_floats:
            leaf = torch.tensor(leaf, dtype=torch.get_default_dtype())
        if isinstance(leaf, Tensor):
            tensors.append(leaf.detach() if leaf.requires_grad else leaf)
            parts.append((leaf.shape, leaf.stride(), leaf.dtype, leaf.device, leaf.requires_grad))
        else:
            parts.append((type(leaf), _hashable(leaf)))
    return tensors, Hashed((tuple(parts), spec, _modes()))


def _hashable(leaf: Any) -> Any:
    try:
        hash(leaf)
    except TypeError:
        return Same(leaf)
    return leaf


def _modes() -> tuple:
    """The global modes that a graph bakes in."""
    inductor = sys.modules.get("torch._inductor.config")
    return (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"),
        pyro.settings.get("module_local_params"),
        inductor is not None and inductor.fallback_random,
    )
