"""Hooks of modules and tensors: functions that torch calls while a program runs, and that may come and go."""

from typing import Any

from torch import Tensor, nn

__all__ = ["hooks_of_module", "hooks_of_tensor"]


def hooks_of_module(module: nn.Module) -> list[dict[int, Any]]:
    """The dicts that hold the hooks of a module.

    Args:
        module: any module.
    """
    return [
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    ]


def hooks_of_tensor(tensor: Tensor) -> tuple[Any, ...]:
    """The hooks of a tensor that is a leaf.

    Args:
        tensor: a parameter, or any tensor.
    """
    before, after = tensor._backward_hooks, tensor._post_accumulate_grad_hooks
    if not (before or after):
        return ()
    return (*(before or {}).values(), *(after or {}).values())
