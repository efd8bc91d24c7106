"""A replay beside the function itself: from the same state and random numbers, both must give the same."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyrovae.imports import private

__all__ = ["verified"]

pytree = private("torch.utils._pytree")

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
ROUGH = 5e-2
"""The tolerance of results in lower precision, and of changes of the state, which an optimizer may magnify."""

ROUGHEST = 0.5
"""The tolerance of changes of the state in lower precision: early steps of Adam are signs of gradients, and its second
moments are squares, whose relative error is twice that of a gradient."""


def verified(graph: Any, tensors: list[Tensor], function: Callable[[], Any], precision: str) -> tuple[Any, str | None]:
    """Replay a graph, run the function from the same state, and compare.

    Args:
        graph: a captured graph; `state` are the tensors that it may change.
        tensors: its arguments.
        function: what it was captured from.
        precision: `"fp32"` or `"bf16"`.

    Returns:
        The result of the graph, with what it did to the state, and None; where they differ, the result of the
        function, with what it did, and a sentence that says by how much.
    """
    before, random = _copies(graph.state), torch.get_rng_state()
    replayed = graph(tensors)
    if not _is_finite(replayed):  # such a step changes nothing, and whoever took it decides what to do
        return replayed, None
    after, random_after = _copies(graph.state), torch.get_rng_state()
    _restore(graph.state, before, random)
    result = pytree.tree_map_only(Tensor, Tensor.detach, function())
    wanted = _copies(graph.state)
    difference = _difference(replayed, result, precision) or _state_difference(before, after, wanted, precision)
    if difference is None:
        _restore(graph.state, after, random_after)
        return replayed, None
    return result, difference


def _is_finite(result: Any) -> bool:
    numbers = (leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor) and leaf.is_floating_point())
    return all(bool(leaf.isfinite().all()) for leaf in numbers)


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def _restore(state: list[Tensor], values: list[Tensor], random: Tensor) -> None:
    for tensor, value in zip(state, values, strict=True):
        tensor.copy_(value)
    torch.set_rng_state(random)


def _difference(replayed: Any, result: Any, precision: str) -> str | None:
    """What differs between two results."""
    pairs = list(zip(pytree.tree_leaves(replayed), pytree.tree_leaves(result), strict=True))
    pairs = [(a, b) for a, b in pairs if isinstance(b, Tensor) and b.is_floating_point()]
    whole = max((b.nan_to_num(0, 0, 0).double().norm().item() for _, b in pairs), default=0.0)
    for a, b in pairs:
        tolerance = ROUGH if precision == "bf16" else max(TOLERANCE.get(x.dtype, ROUGH) for x in (a, b))
        gap = (a - b).double().masked_fill((a == b) | (a.isnan() & b.isnan()), 0.0).norm().item()
        if not gap <= tolerance * (b.double().nan_to_num(0, 0, 0).norm().item() + 0.1 * whole):
            return (
                f"the compiled function gave {_short(a)} where Pyro gives {_short(b)}, from the same state and random "
                "numbers: the program depends on something that is not guarded. Pyro's result was taken"
            )
    return None


def _state_difference(before: list[Tensor], after: list[Tensor], wanted: list[Tensor], precision: str) -> str | None:
    """Whether the graph changed its state by another amount than the function."""
    moved = gap = 0.0
    for old, ours, theirs in zip(before, after, wanted, strict=True):
        if old.is_floating_point():
            moved += (theirs - old).double().nan_to_num(0, 0, 0).square().sum().item()
            gap += (theirs - ours).double().nan_to_num(0, 0, 0).square().sum().item()
    if gap**0.5 <= (ROUGHEST if precision == "bf16" else ROUGH) * moved**0.5 + 1e-6:
        return None
    return (
        f"the compiled function changed parameters and buffers in another way than Pyro, by {gap**0.5:.3g} of "
        f"{moved**0.5:.3g}: the program depends on something that is not guarded. Pyro's result was taken"
    )


def _short(tensor: Tensor) -> str:
    return f"{tensor.item():.6g}" if tensor.numel() == 1 else f"numbers of mean {tensor.double().mean().item():.6g}"
